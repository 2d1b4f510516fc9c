"""Read files from end to end, in order, for checksums that cannot be put together from parts."""

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future

from tasks.volume.arrays.documents import value_from
from tasks.volume.blocks import Compute, Progress, io_pool, on_io
from tasks.volume.ingest.checksums import Expected, Open, Sums
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)


AHEAD = 4  # pieces in memory while one is added up


def checked_before(
    store: WritableStore,
    folder: str,
    expected: Expected,
    files: Sequence[int],
    open_file: Open,
    compute: Compute,
) -> dict[int, Sums]:
    """Read files in order and return their checksums, compared with the expected ones; nothing is changed yet.

    Files that an earlier run read to their end are not read again.

    Args:
        store: The volume.
        folder: Folder of the run, with the notes of files already read.
        expected: Expected checksums of the files.
        files: The numbers of those to be read.
        open_file: Opens a file by its number in the plan.
        compute: Receives progress, and can stop this.

    Raises:
        IntegrityFailure: A file has another checksum.
        Resumable: The run was stopped.
    """
    noted: dict[int, Sums] = {}
    for key in store.keys(f"{folder}/in_order") if files else []:
        try:
            noted |= {int(file): {**sums} for file, sums in value_from(store.get(key)).items()}
        except (ValueError, TypeError, AttributeError):
            log.warning("%s/%s is not as it was written: its files are read again", store.url, key)
    todo = [
        file
        for file in files
        if file not in noted
        or any(noted[file].get(entry.kind) != entry.value for entry in expected.checksums[file])
    ]
    for note in expected.notes(todo):
        log.info("%s", note)
    fresh: dict[int, Sums] = {}

    def note_down() -> None:
        if fresh:
            store.put(f"{folder}/in_order/{min(fresh):08d}", json.dumps(fresh).encode())
            noted.update(fresh)
            fresh.clear()

    try:
        for file, sums in _read_in_order(expected, todo, open_file, compute):
            expected.refuse(file, sums)  # and it is not noted: it may have been damaged on the way
            fresh[file] = sums
            if sum(expected.sizes[file] for file in fresh) >= compute.limits.noted_bytes:
                note_down()
    finally:
        note_down()
    return {file: noted[file] for file in files}


def _read_in_order(
    expected: Expected, files: Sequence[int], open_file: Open, compute: Compute
) -> Iterator[tuple[int, Sums]]:
    """Read files from end to end, one after the other; their checksums. Pieces are fetched ahead of their adding up."""
    import google_crc32c

    step = compute.limits.piece_bytes
    pieces = ((file, start) for file in files for start in range(0, max(1, expected.sizes[file]), step))
    total = sum(-(-max(1, expected.sizes[file]) // step) for file in files)
    began, done, bytes_done = time.monotonic(), 0, 0

    def fetch(file: int, start: int) -> bytes:
        with open_file(file) as source:
            return source.read(start, min(step, expected.sizes[file] - start))

    window: deque[tuple[int, int, Future[bytes]]] = deque()
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    try:
        while True:
            while len(window) < AHEAD and (piece := next(pieces, None)):
                window.append((*piece, io_pool().submit(fetch, *piece)))
            if not window:
                return
            if compute.stopping.is_set():
                raise Resumable(
                    "the run stopped while checksums were read; run the same command again to go on"
                )
            file, start, future = window.popleft()
            data = future.result()
            md5.update(data)
            crc = google_crc32c.extend(crc, data)
            done, bytes_done = done + 1, bytes_done + len(data)
            compute.report(Progress("checksums", done, total, bytes_done, time.monotonic() - began))
            if start + step >= expected.sizes[file]:
                yield file, {"crc32c": f"{crc:08x}", "md5": md5.hexdigest()}
                md5, crc = hashlib.md5(usedforsecurity=False), 0
    finally:
        for _, _, future in window:
            future.cancel()


def refuse_what_stores_say(expected: Expected, open_file: Open) -> None:
    """Compare the checksums that stores keep of whole files with the expected ones, before any file is read.

    Raises:
        IntegrityFailure: A store has another checksum of a file.
    """

    def look(file: int) -> None:
        with open_file(file) as source:
            if source.crc32c:
                expected.refuse(file, {"crc32c": source.crc32c})

    on_io(look, expected.of_kind("crc32c"))


def refuse_what_stores_have(open_file: Open, read: Mapping[int, str], urls: Sequence[str]) -> None:
    """Compare the checksums of the files read with those that their stores keep, if they keep any.

    Args:
        open_file: Opens a file by its number.
        read: CRC32C of each file as read, in hexadecimal.
        urls: URLs of the files.

    Raises:
        IntegrityFailure: A file was read with another checksum.
    """

    def look(file: int) -> None:
        with open_file(file) as source:
            if source.crc32c and source.crc32c != read[file]:
                raise IntegrityFailure(
                    f"{urls[file]} was read with the CRC32C {read[file]}, but its store has {source.crc32c}: bytes "
                    "were damaged on the way; run the same command again, which reads all of it anew"
                )

    on_io(look, list(read))
