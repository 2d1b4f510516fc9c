"""What an ingest of images decides before it writes: the stack, what its voxels mean, their array, and the request.

The request is a digest of all of that. A volume that was made by the same request, also as earlier versions wrote it,
is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.parameters import Image, Master, Run
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.images.header import Voxels
from tasks.volume.images.spacing import calibration_of, field_of, place_of, rockverse_attributes
from tasks.volume.images.stack import Stack, find_stack
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.root import present_root
from tasks.volume.stacks.labels import FIELD, TO_IMAGE, image_to_label, in_image, place_in_image
from tasks.volume.stacks.plan import differs_by_rounding, how_images_differ, master_spec, slab_of
from tasks.volume.store.objects import Store

MADE_BEFORE = "it was made before calibration and booleans were read as now; --overwrite makes it so"


@dataclass(frozen=True)
class StackRequest:
    """A stack of images as it is to be stored.

    Attributes:
        source: The source as it was given.
        store: The volume.
        image: Meaning, unit and position of the voxels; of labels as such.
        stack: The files and their layout.
        place: Length, unit and position of the voxels.
        spec: The array.
        block: Voxels of a slab along each axis.
        notes: Sentences on what was read and what was assumed.
        labelled: The image that the voxels are labels of; empty if of none.
        limits: Limits of the run.
        sharded: Whether shards were given.
    """

    source: str
    store: Store
    image: Image
    stack: Stack
    place: Voxels
    spec: ArraySpec
    block: tuple[int, ...]
    notes: Sequence[str]
    labelled: str
    limits: Limits
    sharded: bool

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the array that RockVerse reads."""
        return rockverse_attributes(self.image, self.place.length, self.place.unit, self.place.origin)

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of the plan."""
        return {
            "verb": "ingest_images",
            "source": self.source,
            "image": self.image.model_dump(exclude={"checksums", "labels_of"}),
            "place": [self.place.length, self.place.unit, self.place.origin],
            "stack": self.stack.to_json(),
            "arrays": {"master": self.spec.to_json()},
            "block": self.block,
        } | ({"labels_of": TO_IMAGE} if self.labelled else {})

    @property
    def looks(self) -> dict[str, Any]:
        """Return what levels need to know of the voxels."""
        looks = {"unit": self.place.unit, "is_labels": self.image.labels, "labels": []}
        return looks | ({"image": TO_IMAGE} if self.labelled else {})

    def recognised(self, root: Root | None) -> tuple[str, bool]:
        """Return the request by which a volume was made of this stack in this way, and whether earlier versions did.

        Empty if it was made otherwise, or there is none.
        """
        stages = root.state.stages if root is not None else {}
        if self.spec.path not in stages:
            return "", False
        known, flat = stages[self.spec.path].request, self._flat()
        if known in (digest_of(self.body), digest_of(flat.body)):
            return known, False
        if any(
            differs_by_rounding(self.store, stages[self.spec.path], body) for body in (self.body, flat.body)
        ):
            return known, False
        befores = {
            digest_of(replace(flat, stack=was, place=place, spec=replace(flat.spec, dtype=dtype)).body)
            for was, place in [
                (was, _place_before(self.image, was)) for was in (self.stack, *self.stack.before())
            ]
            for dtype in {self.spec.dtype, self.stack.first.dtype}
        }
        return (known, True) if known in befores else ("", False)

    def _flat(self) -> "StackRequest":
        """Return the same as versions had it that gave each chunk on a local disk a file, however many there were."""
        spec = replace(self.spec, shards=()) if self.store.local and not self.sharded else self.spec
        return replace(self, spec=spec, block=slab_of(spec, self.stack, self.limits))

    def another(self, root: Root) -> str:
        """Return that a place holds another volume, of what, and how it differs."""
        differ = how_images_differ(root, self.spec, self.source, self.attributes)
        return f"{self.store.url} holds another volume (of {root.state.sources[0].url}; {differ})"

    def what_is_there(self) -> list[str]:
        """Return a note for a dry run if the destination is a volume already."""
        content, _ = present_root(self.store)
        if not content:
            return []
        root = root_from(content, self.store.url)
        known, earlier = self.recognised(root)
        if not known:
            return [f"{self.another(root)}; the run would be refused without --overwrite"]
        made = f"{self.store.url} was made of this source in this way"
        more = f" ({MADE_BEFORE})" if earlier else ""
        return [f"{made}{more}, so its lossless array would be left as it is"]


def request_of(
    source: str, store: Store, image: Image, master: Master, run: Run, limits: Limits
) -> StackRequest:
    """Find the files of a stack, and decide how it is stored.

    Args:
        source: Files, a folder, a pattern, a list, or an array in a file.
        store: The volume.
        image: Meaning, unit and position of the voxels.
        master: Chunks, shards and codec.
        run: Settings of the run.
        limits: Limits of the run.

    Raises:
        InputRefused: The files or a parameter cannot be used.
    """
    shown = image_to_label(image.labels_of, run.storage_options) if image.labels_of else None
    stack = find_stack(source, run.storage_options, image.raw, image.image)
    place = place_of(image, stack.voxels)
    if shown:
        place = place_in_image(stack, place, image, shown)
        named = image.field_name if image.field_name != Image().field_name else FIELD
        image = image.model_copy(update={"labels": True, "field_name": named})
    if image.labels and stack.first.dtype.startswith("float"):
        raise InputRefused(
            f"{stack.first.dtype} voxels cannot be labels; leave labels out, or segment the image first"
        )
    spec = master_spec(stack, master, field_of(image), limits, local=store.local)
    return StackRequest(
        source=source,
        store=store,
        image=image,
        stack=stack,
        place=place,
        spec=spec,
        block=slab_of(spec, stack, limits),
        notes=(
            in_image(place, shown) if shown else calibration_of(image, stack.voxels, place),
            *([] if image.voxel_length else stack.voxels.notes),
        ),
        labelled=shown.store.url if shown else "",
        limits=limits,
        sharded=bool(master.shards),
    )


def _place_before(image: Image, stack: Stack) -> Voxels:
    """Return the voxel lattice of an earlier version; one that no volume has if that version refused the stack."""
    try:
        return place_of(image, stack.voxels)
    except InputRefused:
        return Voxels()
