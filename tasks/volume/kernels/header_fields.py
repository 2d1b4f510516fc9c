"""Convert trace headers to little endian, field by field, at memory speed."""

import numpy as np

from tasks.volume.kernels.compiled import kernel


def swap_fields(raw: np.ndarray, widths: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` with the headers `raw`, the bytes of each field reversed.

    Args:
        raw: uint8, shape (trace, at least the sum of widths), as in the file; rows may lie apart.
        widths: uint8, shape (field,): 2 or 4 each; the fields follow each other from the first byte on.
        out: uint8, shape (trace, sum of widths).
    """
    if not np.isin(widths, (2, 4)).all():
        raise ValueError(f"header fields are 2 or 4 bytes wide, got {sorted(set(np.ravel(widths).tolist()))}")
    n_bytes = int(np.sum(widths, dtype=np.int64))
    if raw.shape[1] < n_bytes or out.shape != (len(raw), n_bytes):
        raise ValueError(
            f"fields of {n_bytes} bytes in all do not take headers of shape {raw.shape} to {out.shape}; "
            f"the result has shape {(len(raw), n_bytes)}"
        )
    if len(raw):
        # All fields are even, so bytes move in pairs: a 4-byte field is two pairs, each reversed, exchanged.
        first = np.cumsum(widths, dtype=np.int64) - widths
        pairs = [
            [at // 2 + 1, at // 2] if width == 4 else [at // 2]
            for at, width in zip(first, widths, strict=True)
        ]
        order = np.array([pair for field in pairs for pair in field], np.int64)
        source = raw[:, :n_bytes].view(np.uint16)
        source.flags.writeable = False
        _swap_pairs(source, order, out.view(np.uint16))


@kernel
def _swap_pairs(raw, order, out):
    for i in range(out.shape[0]):
        for j in range(order.size):
            pair = raw[i, order[j]]
            out[i, j] = np.uint16((pair >> 8) | (pair << 8))
