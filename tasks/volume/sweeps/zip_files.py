"""ZIP files under a staging prefix: a ZIP with one SEG-Y is a source; a ZIP with several is reported.

A ZIP may have any name, so the list of its files decides; this takes two requests for each ZIP at every sweep.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from tasks.volume.blocks import on_io
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.archives import names_in
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.url import as_parameter
from tasks.volume.sweeps.keys import File, Listing, is_candidate, suffix_of

_SHOWN = 3


def with_zip_files(listed: Listing, staging: Store) -> Listing:
    """Return a listing in which ZIP files that hold SEG-Y are candidates; those that hold more say so."""
    zips = [
        file
        for name, file in listed.files.items()
        if suffix_of(name) == ".zip" and name not in listed.unusable and not name.startswith(".seismill/")
    ]
    looks = dict(
        zip(
            (file.name for file in zips),
            on_io(lambda file: _look(file, staging, su=listed.su), zips),
            strict=True,
        )
    )
    unusable = {name: look for name, look in looks.items() if isinstance(look, str)}
    archives = frozenset(name for name, look in looks.items() if look is True)
    return replace(listed, unusable={**listed.unusable, **unusable}, archives=archives)


def _look(file: File, staging: Store, *, su: bool) -> bool | str:
    """Return whether a ZIP file is a source, or why one that holds SEG-Y is none."""
    named = is_candidate(file.name, su=su)
    try:
        with closing(Source(as_parameter(file.url), staging.options, file.identity)) as source:
            if source.size < 2 or source.read(0, 2) != b"PK":
                return named  # whatever it is, its name decides
            names = names_in(source)
    except InputRefused as error:
        return str(error)
    if not named and not any(is_candidate(name, su=su) for name in names):
        return False
    return len(names) == 1 or _several(file, names)


def _several(file: File, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return (
        f"{file.url} holds {len(names)} files ({shown}), and a sweep publishes a ZIP file of one; unpack it beside, or "
        f"publish each: seismill publish {file.url}:NAME VOLUME"
    )
