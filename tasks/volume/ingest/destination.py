"""Say what the destination of an ingest holds already: the same volume, another one, or nothing."""

import json

from tasks.parameters import Master
from tasks.volume.arrays.spec import MASTER
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.ingest.plan import how_ingests_differ
from tasks.volume.ingest.survey import Survey
from tasks.volume.protocol.root import present_root
from tasks.volume.store.objects import Store


def recognised(store: Store, request: str) -> bool:
    """Return whether the requested master exists already, judged without taking the lock."""
    return _was_made_by(present_root(store)[0], request)


def _was_made_by(content: bytes, request: str) -> bool:
    try:
        return bool(json.loads(content)["attributes"]["seismill"]["stages"][MASTER]["request"] == request)
    except (ValueError, LookupError, TypeError):
        return False


def another_volume(store: Store, root: Root, survey: Survey, master: Master) -> str:
    """Return that a place holds another volume, of what, and how it differs."""
    differ = how_ingests_differ(root, survey, master)
    return f"{store.url} holds another volume (of {root.state.sources[0].url}; {differ})"


def what_is_there(store: Store, request: str, survey: Survey, master: Master) -> list[str]:
    """Return a note for a dry run if the destination is a volume already; whether its bytes moved is not looked at."""
    content, _ = present_root(store)
    if not content:
        return []
    if _was_made_by(content, request):
        return [
            f"{store.url} was made of this source in this way, so its lossless array would be left as it is"
        ]
    another = another_volume(store, root_from(content, store.url), survey, master)
    return [
        f"{another}; unless that was made of the same bytes, the run would be refused without --overwrite"
    ]
