"""Estimate a lower bound of the bytes of a copy of another tool's array."""

import math
import re

from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.store.objects import Store
from tasks.volume.store.room import least_stored

MOST_UNIT_BYTES = 256 << 20  # larger objects are not decoded for an estimate
_KEY = re.compile(r"(?:c[/.])?(\d+(?:[/.]\d+)*)")


def least_of_array(store: Store, spec: ArraySpec) -> int:
    """Return a lower bound of the bytes of a lossless copy of an array, from the decoded values of some of its objects.

    Their stored sizes are not used, because the array may be stored without compression. Absent objects take
    nothing. For an array of very large objects the result is 0, because they are not read.

    Args:
        store: The store that holds the array.
        spec: The array as another tool wrote it.
    """
    if math.prod(spec.unit) * spec.numpy.itemsize > MOST_UNIT_BYTES:
        return 0
    objects = []
    for key in store.keys(spec.path):
        if match := _KEY.fullmatch(key.removeprefix(f"{spec.path}/" if spec.path else "")):
            place = [int(number) for number in re.split("[/.]", match[1])]
            if len(place) == len(spec.shape):
                extents = zip(place, spec.unit, spec.shape, strict=True)
                objects.append(tuple(slice(min(p * u, n), min(p * u + u, n)) for p, u, n in extents))
    sizes = [math.prod(s.stop - s.start for s in region) * spec.numpy.itemsize for region in objects]

    def read(number: int, start: int, length: int) -> bytes:
        return read_region(store, spec, objects[number]).tobytes()[start : start + length]

    return least_stored(sizes, read) if any(sizes) else 0
