"""Limits on data that others wrote, with their reasons; and `Limits` and `Patience` of a run.

Anyone who may write to a staging store or beside a volume controls the input of parsers, decoders and loops. Each of
them has a limit from this table, and a sentence for when it is exceeded.

| What | Limit | Why | |---|---|---| | One JSON document of a store | `DOCUMENT_BYTES` | Python needs ten times its
size; roots of 1,000 arrays have 3 MB | | Dimensions of a stored array | `DIMENSIONS` | NumPy has no more | | Extent
of an axis | `EXTENT` | offsets are 64-bit numbers of bytes | | Chunks along one axis, and in all | `AXIS_CHUNKS`,
`CHUNKS` | plans iterate over the former, ledgers name the latter | | What a stored chunk decodes to | its chunk, or
`GROWTH` of it between codecs | kilobytes can decode to gigabytes | | Arrays and groups of a volume | `MEMBERS` | each
has a manifest that is fetched | | Levels of a volume | `LEVELS` | 2^32 voxels an axis are halved 32 times | | YAML of
a sidecar | `SIDECAR_BYTES`, `SIDECAR_NODES`, `SIDECAR_DEPTH` | counted before it is expanded | | One value of a
sidecar | `SCALAR_BYTES` | whole numbers are parsed in quadratic time | | Text header of an image | `HEADER_BYTES`,
`HEADER_LINES`, `LINE_BYTES` | parsed line by line, once | | Commits or locks missing below the highest number |
`GAPS` | each is named; one with number 99999999 would make all others missing | | Repeated reads of an object that
others change | `ROUNDS` | more changes in a row are no coincidence |
"""

from dataclasses import dataclass

DOCUMENT_BYTES = 64 << 20
DIMENSIONS = 32
EXTENT = 1 << 62
AXIS_CHUNKS = 1 << 22
CHUNKS = 1 << 28
GROWTH = 2
MEMBERS = 100_000
LEVELS = 64
SIDECAR_BYTES = 64 << 10
SIDECAR_NODES = 20_000
SIDECAR_DEPTH = 16
SCALAR_BYTES = 4096
HEADER_BYTES = 1 << 20
HEADER_LINES = 10_000
LINE_BYTES = 64 << 10
GAPS = 10_000
ROUNDS = 100


@dataclass(frozen=True)
class Limits:
    """Sizes at which a run changes its method, passed with its `Compute`; tests make them small.

    Attributes:
        scanned_bytes: `scan` reads all headers of local files up to this size, and samples those of larger files.
        all_headers_bytes: All headers of local files up to this size are read to choose the index.
        sampled_traces: Number of headers sampled between the head and the tail of a larger file.
        sampled_bytes: Largest head and tail of such a file.
        sampled_fractions: Largest head and tail as fractions of the file, so that sampling costs little.
        small_file_bytes: Local files up to this size are read in any order.
        scattered_bytes: Files whose ranges are shorter on average are spilled first; (remote, local).
        traces_block_bytes: Samples of a block of traces, unless one shard is larger.
        spill_range_bytes: Range of a file that is spilled as one object.
        spill_gap_bytes: Largest gap in a spilled object that is read along with its neighbours; (remote, local).
        piece_bytes: Bytes per read of a file that is read in order for its checksums.
        noted_bytes: Bytes of whole files to read in order before their checksums are stored.
        slab_bytes: Voxels of a block of images, unless one slab is larger.
        local_objects: An array on a local disk with more chunks than this is stored in shards.
        level_bytes: Samples that a block of levels reads, unless one stored object of a level needs more.
        kept_bytes: Most bytes of chunks that a publication keeps in memory for its next stages.
        two_levels_bytes: Blocks up to this size make two levels from one read.
    """

    scanned_bytes: int = 2 << 30
    all_headers_bytes: int = 32 << 20
    sampled_traces: int = 12
    sampled_bytes: tuple[int, int] = (1 << 20, 128 << 10)
    sampled_fractions: tuple[float, float] = (0.04, 0.01)
    small_file_bytes: int = 16 << 20
    scattered_bytes: tuple[int, int] = (512 << 10, 64 << 10)
    traces_block_bytes: int = 96 << 20
    spill_range_bytes: int = 64 << 20
    spill_gap_bytes: tuple[int, int] = (512 << 10, 64 << 10)
    piece_bytes: int = 16 << 20
    noted_bytes: int = 1 << 30
    slab_bytes: int = 64 << 20
    local_objects: int = 100_000
    level_bytes: int = 64 << 20
    two_levels_bytes: int = 256 << 20
    kept_bytes: int = 2 << 30


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Patience:
    """Seconds that a call waits for a store.

    Attributes:
        deadline: Limit of a call with its retries; shorter than the lease of a lock.
        short_deadline: Limit of a call after one that did not reach the store.
        one_try: Limit of one attempt at a small request.
        say: Time without a usable response, after which the log names the store.
    """

    deadline: float = 120.0
    short_deadline: float = 10.0
    one_try: float = 40.0
    say: float = 20.0
