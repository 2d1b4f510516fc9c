"""ZFP blocks that copies share: each is encoded and measured once, and its bits are used in every chunk that has it.

Chunks of all copies begin at multiples of 4 samples, so copies of one tolerance are made of the same blocks. The bits
of a slab of blocks, with where each block ends and its errors, take the place of the slab's samples in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.volume.arrays.codecs import checksummed, is_zfp, tolerance_of, zfp_header
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region, on_chunks
from tasks.volume.kernels.zfp import SIDE, Found, count_samples, encode_slab, join_blocks, zfp_takes


def can_share(copies: Sequence[ArraySpec], values: np.ndarray, region: Region) -> bool:
    """Return whether copies in ZFP have the same blocks in a region.

    Args:
        copies: Copies made of the region, all in ZFP.
        values: Buffer of the region, with room for whole chunks.
        region: Position in the master.
    """
    tolerance = tolerance_of(copies[0]) if copies else None
    if len(copies) < 2 or tolerance is None or len({copy.codec for copy in copies}) > 1:
        return False
    taken = all(is_zfp(copy) and zfp_takes(copy.chunks, copy.numpy, tolerance) for copy in copies)
    return taken and not any(n % SIDE for n in (*values.shape, *(r.start for r in region)))


@dataclass(frozen=True)
class SharedBlocks:
    """Blocks of a region.

    Attributes:
        tolerance: Their greatest absolute error.
        bits: uint64: a row for each slab.
        found: What `kernels.zfp.Found` has, by slab and the position along the other two axes.
    """

    tolerance: float
    bits: np.ndarray
    found: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def encoded(
        cls, values: np.ndarray, tolerance: float, original: np.ndarray, live: np.ndarray, *, itself: bool
    ) -> "SharedBlocks | None":
        """Encode all blocks in place; return None, with some of the values gone, if bits take more room than samples.

        Args:
            values: float32, contiguous, extents that are multiples of 4.
            tolerance: The greatest absolute error.
            original: Same as in `kernels.zfp.encode_zfp_measured`.
            live: Same as in `kernels.zfp.encode_zfp_measured`.
            itself: Whether `values` holds the values of `original` where this is live.
        """
        inside = tuple(slice(0, n) for n in original.shape)
        compared = values[inside] if itself else original.astype(values.dtype, copy=False)
        slabs, across = len(values) // SIDE, (values.shape[1] // SIDE, values.shape[2] // SIDE)
        count = across[0] * across[1]
        bits = values.reshape(slabs, -1).view(np.uint64)
        tail = 2 * count + (count + 1) // 2  # words
        ends, squares, greatest = np.split(bits[:, -tail:], [tail - 2 * count, tail - count], axis=1)
        found = tuple(
            part.view(dtype)[:, :count].reshape(slabs, *across)
            for part, dtype in ((ends, np.uint32), (squares, np.float64), (greatest, np.int64))
        )

        def encode(slab: int) -> bool:
            part, of_slab = slice(SIDE * slab, SIDE * (slab + 1)), Found.of(count)
            words = encode_slab(values[part], tolerance, compared[part], live[part], of_slab, itself=itself)
            if len(words) + tail > bits.shape[1]:
                return False
            bits[slab, : len(words)] = words
            for kept, figures in zip(found, of_slab[:3], strict=True):
                kept[slab] = figures.reshape(across)
            return True

        whole = all(on_chunks(encode, range(slabs)))
        return cls(tolerance, bits, (found[0], found[1], found[2])) if whole else None

    def chunk(
        self,
        start: Sequence[int],
        shape: tuple[int, ...],
        original: np.ndarray,
        live: np.ndarray,
        sums: np.ndarray,
        *,
        nonfinite: bool,
    ) -> bytes:
        """Return the stored bytes of a chunk, and add its errors to `sums`.

        Args:
            start: Where the chunk begins in the region.
            shape: Extents of the chunk.
            original: Same as in `derived.errors.encode_measured`.
            live: Same as in `derived.errors.encode_measured`.
            sums: Same as in `derived.errors.encode_measured`.
            nonfinite: Same as in `derived.errors.encode_measured`.
        """
        count_samples(original, live, sums, nonfinite=nonfinite)
        blocks = [range(s // SIDE, (s + n) // SIDE) for s, n in zip(start, shape, strict=True)]
        return checksummed(
            join_blocks(self.bits, self.found, blocks, zfp_header(shape, self.tolerance), sums)
        )
