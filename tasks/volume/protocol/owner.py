"""The order of steps in which a run changes a volume, written once for all verbs.

A verb refuses what it can before anything is written, then asks `owned` for the volume, and `Owner.begin` for a stage:

    refuse, fit memory            by the verb, and by `owned` before it touches the place
    probe, lock                   `owned`
    recognise, refuse             by the verb, from the root under the lock: what is done already, what is in the way
    read all that the new is made of, only if something is replaced; commit the plan; take the old away   `begin`
    blocks, publish               `run_blocks`, `put_arrays`, `publish_root`

So nothing that exists is taken away before every refusal has had its turn, and a run that ends after that ends
resumable: its plan is stored before anything goes, and the same command goes on with it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.parameters import Run
from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, together
from tasks.volume.protocol.deletion import take_away
from tasks.volume.protocol.holdings import held_epoch
from tasks.volume.protocol.lock import highest, locked
from tasks.volume.protocol.own_names import OWN
from tasks.volume.protocol.plan import PLAN, digest_of, is_begun
from tasks.volume.protocol.remembered import begun_tidy, remember, tidied
from tasks.volume.protocol.root import current_root
from tasks.volume.protocol.stage import Stage, begin_stage, settle
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

Fit = Callable[[Compute], Compute]


def nothing() -> None:
    """Do nothing: the `read` of a stage that replaces nothing, or whose verb has read everything already."""


def any_memory(compute: Compute) -> Compute:
    """Accept any memory: what a block needs is known later."""
    return compute


@dataclass(frozen=True)
class Owner:
    """A volume that this run owns.

    Attributes:
        store: The volume.
        epoch: Epoch of the lock.
        run: Settings of the run.
        compute: Place where blocks run, with the memory of the whole run.
    """

    store: WritableStore
    epoch: int
    run: Run
    compute: Compute

    def root(self) -> Root | None:
        """Return the root in the newest commit; None if there is no volume."""
        return current_root(self.store)

    def begin(
        self,
        name: str,
        body: dict[str, Any],
        fit: Fit,
        *,
        present: Root | None,
        after: Root | None,
        read: Callable[[], None] = nothing,
        keep: Sequence[str] = (),
        leave_chunks: Sequence[str] = (),
        listed: Sequence[str] | None = None,
        created_on: str = "",
    ) -> Stage:
        """Begin a stage, or go on with it: fit memory, read, commit the plan, take away what it replaces.

        Args:
            name: Name of the stage, for progress.
            body: The plan.
            fit: Gives the compute with as many blocks in flight as fit; raises if not one does.
            present: The root now; None if there is none.
            after: The root without what the stage replaces; the same object if it replaces nothing.
            read: Reads all that the new is made of through its checksums; called before anything is taken away.
            keep: Digests of further plans that belong to the stage.
            leave_chunks: Arrays whose chunks stay until they are replaced; as `take_away`.
            listed: Keys of all objects of the volume, if they were just listed under the lock.
            created_on: The volume's time stamp; the run's if empty.

        Raises:
            InputRefused: Memory does not hold one block.
            IntegrityFailure: An object that the new one is made from is damaged.
            Resumable: An object may not be removed, or another run took over.
        """
        compute = fit(self.compute)
        digest = digest_of(body)
        if after is not present and not is_begun(self.store, digest):
            read()
        if present is not None and present.is_annex:
            # Readers list what lies in somebody else's group while we write: the folder of our notes is a group, too.
            settle(self.store, self.epoch, f"{OWN}/zarr.json", document_bytes(GROUP))
        stage = begin_stage(name, self.store, body, self.epoch, self.run, compute, created_on=created_on)
        # Without a block in the ledger it is not known how far an earlier run came with taking away.
        tidy = tidied(self.store)
        if not stage.resumed and not (after is present and tidy):
            take_away(
                self.store,
                self.epoch,
                present,
                after,
                keep_digests=[digest, *keep],
                leave_chunks=leave_chunks,
                listed=listed,
            )
            remember(self.store, f"{stage.plan.folder}/{PLAN}", stage.plan.content)
            tidy = True
        begun_tidy(self.store, tidy=tidy)
        return stage


@contextmanager
def owned(store: Store, run: Run, compute: Compute, fit: Fit) -> Iterator[Owner]:
    """Own the volume inside the `with`; nothing is written before memory was found to hold a block.

    Args:
        store: The volume.
        run: Settings of the run.
        compute: Where blocks run.
        fit: Same as in `Owner.begin`.

    Raises:
        InputRefused: Memory does not hold one block.
        DestinationRefused: The place cannot be written as the run protocol needs it.
        Resumable: Another run holds the volume.
    """
    fit(compute)
    with held(store, run) as (writable, epoch):
        yield Owner(writable, epoch, run, compute)


@contextmanager
def held(store: Store, run: Run) -> Iterator[tuple[WritableStore, int]]:
    """Hold a volume's lock inside the `with`, for a change that is no stage; yields its store and the epoch.

    Raises:
        DestinationRefused: The place cannot be written as the run protocol needs it.
        Resumable: Another run holds the volume.
    """
    writable = WritableStore.of(store)
    top = None if held_epoch(store) else together(writable.probe, partial(highest, store))[1]
    with locked(writable, wait_seconds=run.lock_wait, say=log.info, top=top) as epoch:
        yield writable, epoch
