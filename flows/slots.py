"""A limit on runs that read one staging bucket at the same time: a global concurrency limit of the server.

A store handles a limited number of requests a second, and a bucket's egress costs money; limits of pools do not cover
that. The limit belongs to the bucket, so it holds for the runs of all pools together. `seismill register` makes it,
and an operator may change it in the UI during runs. The slot of a killed run is released when its lease expires.
"""

from contextlib import AbstractContextManager, nullcontext

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from tasks.volume.store.url import locate


def limit_of(url: str) -> str:
    """Return the name of the concurrency limit of a URL's bucket; empty for a URL without a bucket."""
    place = locate(url.split(",")[0])  # of several files the first one counts
    return "" if place.local or place.protocol == "memory" else f"staging-{place.path.partition('/')[0]}"


def slot(source: str) -> AbstractContextManager[None]:
    """Occupy a slot of the bucket of `source` inside the `with`; wait until one is free."""
    name = limit_of(source)
    if not name:
        return nullcontext()
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return nullcontext()
    return concurrency(name)
