"""Google Cloud Storage on loopback: gcp-storage-emulator, made to keep what the real one promises.

The emulator answers one connection at a time, which deadlocks with clients that keep several open, and passes over
ifGenerationMatch, on which create-if-absent stands. Here every connection has a thread, one lock makes each
request atomic, and preconditions are compared before a request is carried out.

Run as `python tests/support/emulators/gcs.py PORT`; `POST /wipe?keep-buckets=true` empties it.
"""

import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from threading import Lock
from typing import Any

import gcp_storage_emulator.server as emulator
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage

Handler = Callable[..., None]
BUCKETS = ("staging", "volumes")
_one_at_a_time = Lock()


def _object_of(request: Any, storage: Storage) -> str | None:
    """The name of the object that a request is about."""
    if "object_id" in request.params:
        return str(request.params["object_id"])
    if "upload_id" in request.query:
        return str(storage.get_resumable_file_obj(request.query["upload_id"][0])["name"])
    if "name" in request.query:
        return str(request.query["name"][0])
    data = request.data
    return str(data.get("meta", data).get("name")) if isinstance(data, dict) else None


def _generation(request: Any, storage: Storage, name: str) -> str:
    """The generation of an object as the service counts it: 0 where there is none."""
    present = storage.objects.get(request.params["bucket_name"], {}).get(name)
    return str(present["generation"]) if present else "0"


def _keeping_promises(handler: Handler) -> Handler:
    def handle(request: Any, response: Any, storage: Storage, *args: Any, **kwargs: Any) -> None:
        _ = request.data  # read from the socket before the lock is taken
        with _one_at_a_time:
            wanted = request.query.get("ifGenerationMatch")
            name = _object_of(request, storage) if wanted else None
            if name and wanted[0] != _generation(request, storage, name):
                response.status = HTTPStatus.PRECONDITION_FAILED
                message = "At least one of the pre-conditions you specified did not hold."
                response.json(
                    {"error": {"code": 412, "message": message, "errors": [{"reason": "conditionNotMet"}]}}
                )
                return
            handler(request, response, storage, *args, **kwargs)
            if request.query.get("alt") == ["media"]:
                name = _object_of(request, storage)
                if name and response.status < 300:
                    response["X-Goog-Generation"] = _generation(request, storage, name)

    return handle


class _Storage(Storage):
    def _write_config_to_file(self) -> None:
        """Nothing: the emulator would write all of its metadata down after every change."""


def serve(port: int) -> None:
    """Serve the JSON API on the loopback address until the process ends."""
    for _, handlers in emulator.HANDLERS:
        for method in list(handlers):
            handlers[method] = _keeping_promises(handlers[method])
    storage = _Storage(use_memory_fs=True)
    for bucket in BUCKETS:
        buckets.create_bucket(bucket, storage)
    emulator.RequestHandler.protocol_version = "HTTP/1.1"  # or every request would open a connection
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", port), partial(emulator.RequestHandler, storage)).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
