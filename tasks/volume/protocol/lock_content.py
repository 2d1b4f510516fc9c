"""A lock as it is stored: its holder, and a checksum that reveals a damaged lock."""

import json
from typing import Any

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.arrays.documents import value_from

LOCKS = ".seismill/lock"
# A lock that cannot be read was left by a kill or is damaged. A live holder writes it again with its next sign of life,
# and one that sleeps looks at the epoch before it stores anything.
UNREADABLE_SECONDS = 45.0


def key_of(epoch: int) -> str:
    """Return the key of an epoch's lock."""
    return f"{LOCKS}/{epoch:08d}"


# What is taken for what a lock says that cannot be read.
DAMAGED = {
    "holder": f"somebody whose lock is damaged, and who is waited for for {UNREADABLE_SECONDS:.0f} s,",
    "state": "held",
    "machine": "",
    "process": 0,
    "started": "",
    "token": "",
}


def stored(lock: dict[str, Any], epoch: int) -> bytes:
    """Return a lock as it is stored: with a CRC32C of its other fields and of its epoch."""
    text = f"{json.dumps(lock)} {epoch}"
    return json.dumps(lock | {"crc32c": f"{crc32c(text.encode()):08x}"}).encode()


def is_whole(content: bytes, epoch: int) -> bool:
    """Return whether a lock matches its checksum; locks of early versions have none and always match."""
    try:
        lock = value_from(content)
        checksum = lock.pop("crc32c", None)
    except (ValueError, AttributeError, TypeError):
        return False
    if checksum is None:
        return bool(lock.keys() == DAMAGED.keys() | {"beat"}) and json.dumps(lock).encode() == content
    return stored(lock, epoch) == content


def released_lock(epoch: int) -> tuple[str, bytes]:
    """Return key and content of an earlier lock whose holder is unknown."""
    lock = DAMAGED | {"holder": "not known: the lock was damaged", "state": "released", "beat": 0}
    return key_of(epoch), stored(lock, epoch)


def read(content: bytes) -> dict[str, Any]:
    """Return the content of a lock; a damaged one counts as held until it was unchanged for the lease."""
    try:
        lock = value_from(content)
        typed = all(type(lock[name]) is type(value) for name, value in DAMAGED.items())
        return dict(lock) if typed else dict(DAMAGED)
    except (ValueError, LookupError, TypeError):
        return dict(DAMAGED)
