"""The loops over samples, compiled by numba: decoding, means, ZFP, errors and header fields.

All release the GIL and run on the caller's thread; several calls run side by side on a thread pool. Nothing
is compiled on import: the first call with new argument types compiles, some seconds, and keeps the machine
code in `__pycache__` beside the source or, where that is read-only, in the user's cache directory.
NUMBA_CACHE_DIR names another place; where none is writable (a container without a home), importing fails
unless it is set. Each module here compiles from its own source alone: numba notices a change of the file that
holds a kernel but not of others that it calls into, and would go on using the old machine code.
"""

from tasks.volume.kernels.error_sums import error_sums, finite_or_zero
from tasks.volume.kernels.header_fields import swap_fields
from tasks.volume.kernels.means import any_live, mean_floats, mean_integers
from tasks.volume.kernels.plain import decode_plain, encode_plain
from tasks.volume.kernels.traces import decode_traces, encode_traces, merge_stats, new_stats
from tasks.volume.kernels.zfp import encode_zfp, encode_zfp_measured, zfp_takes

__all__ = [
    "any_live",
    "decode_plain",
    "decode_traces",
    "encode_plain",
    "encode_traces",
    "encode_zfp",
    "encode_zfp_measured",
    "error_sums",
    "finite_or_zero",
    "mean_floats",
    "mean_integers",
    "merge_stats",
    "new_stats",
    "swap_fields",
    "zfp_takes",
]
