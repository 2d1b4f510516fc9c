"""The volumes whose locks this process holds, and what it keeps in memory of each until the lock is released."""

from dataclasses import dataclass, field

from tasks.volume.store.objects import Store


@dataclass(frozen=True)
class Holding:
    """One volume that this process holds.

    Attributes:
        epoch: Epoch of the lock.
        token: Identifies this holding of the volume. The epoch does not: after everything was removed, the next volume
            begins with epoch 1 again.
        for_stages: Whether further stages follow under the same lock, which read large objects.
        small: Documents and indexes of shards that this process stored, by key.
        large: Chunks and shards that it stored, by key.
    """

    epoch: int
    token: str
    for_stages: bool = False
    small: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)


_held: dict[str, Holding] = {}  # by URL


def begin_holding(store: Store, holding: Holding) -> None:
    """Note that this process holds a volume."""
    _held[store.url] = holding


def end_holding(store: Store, token: str) -> None:
    """Note that this process no longer holds a volume, unless another run of it took over."""
    if held_token(store) == token:
        del _held[store.url]


def holding_of(store: Store) -> Holding | None:
    """Return what this process holds of the volume; None if it does not hold it."""
    return _held.get(store.url)


def all_holdings() -> list[Holding]:
    """Return all volumes that this process holds."""
    return list(_held.values())


def held_epoch(store: Store) -> int:
    """Return the epoch under which this process owns the volume; 0 if it does not."""
    holding = holding_of(store)
    return holding.epoch if holding else 0


def held_token(store: Store) -> str:
    """Return the token of this holding of the volume; empty if this process does not hold it."""
    holding = holding_of(store)
    return holding.token if holding else ""
