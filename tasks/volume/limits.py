"""Limits on what others wrote: what is limited, to how much, and why.

Whoever may write to a staging store or beside a volume decides what a parser, a decoder or a loop meets there. Each of
them has a limit from this table, and ends in a sentence when it is reached.

| What | Limit | Why |
|---|---|---|
| One JSON document of a store | `DOCUMENT_BYTES` | Python needs ten times its size; roots of 1,000 arrays have 3 MB |
| Dimensions of a stored array | `DIMENSIONS` | NumPy has no more |
| Extent of an axis | `EXTENT` | offsets are 64-bit numbers of bytes |
| Chunks along one axis, and in all | `AXIS_CHUNKS`, `CHUNKS` | plans go through the one, ledgers name the other |
| What a stored chunk decodes to | its chunk, or `GROWTH` of it between codecs | kilobytes become gigabytes |
| Arrays and groups of a volume | `MEMBERS` | each has a manifest that is fetched |
| Levels of a volume | `LEVELS` | 2^32 voxels an axis are halved 32 times |
| YAML of a sidecar | `SIDECAR_BYTES`, `SIDECAR_NODES`, `SIDECAR_DEPTH` | counted before it is expanded |
| One value of a sidecar | `SCALAR_BYTES` | whole numbers are parsed in quadratic time |
| Text header of an image | `HEADER_BYTES`, `HEADER_LINES`, `LINE_BYTES` | parsed line by line, once |
| Commits or locks missing below the highest number | `GAPS` | each is named; a number of 99999999 leaves out all |
| Looking again at what others change | `ROUNDS` | that often in a row is no coincidence |
"""

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
