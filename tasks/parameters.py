"""The parameters of the verbs, typed once for the flow, its form in the Prefect UI and the command line.

Only shapes that Prefect's form renders well are used: text, numbers, choices, lists and nested models with
real defaults; no dictionaries and no optional fields. An empty list or 0 means "choose for me".
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

# Neither credentials before "@" nor signed queries after "?" can be written into a URL, and chained URLs are refused.
Url = Annotated[
    str,
    Field(
        pattern=r"^(:?[^@?:])+$",
        description="A local path, or s3://, gs://, az:// with no credentials in it",
        examples=["s3://staging/survey.sgy"],
    ),
]

# Only the main job may be started by a sweep; {size} becomes s, m or l.
DeploymentName = Annotated[
    str,
    Field(
        pattern=r"^(publish/[a-z0-9-]+(\{size\})?)?$",
        description="publish/<deployment>, in which {size} stands for s, m or l",
        examples=["publish/publish-kubernetes-{size}"],
    ),
]
MaxActive = Annotated[int, Field(ge=1, le=200)]
SettleMinutes = Annotated[float, Field(ge=0, le=1440)]
Fraction = Annotated[float, Field(gt=0, le=1)]

# The same, or nothing.
OptionalUrl = Annotated[str, Field(pattern=r"^((:?[^@?:])+)?$")]

ArrayPath = Annotated[
    str,
    Field(
        pattern=r"^([\w-][^/@?:]*(/[\w-][^/@?:]*)*)?$",
        description="Path of an array in a Zarr group",
        examples=["field/0"],
    ),
]

HeaderType = Literal["int16", "int32", "uint16", "float32", "ibm32"]
SampleFormat = Literal[
    "header",
    "ibm32",
    "int32",
    "int16",
    "float32",
    "float64",
    "int24",
    "int8",
    "int64",
    "uint32",
    "uint16",
    "uint64",
    "uint24",
    "uint8",
]
Quality = Literal["auto", "very_low", "low", "medium", "high", "very_high", "ultra", "lossless"]
Preset = Literal["fast_inline", "fast_crossline", "fast_offset", "fast_time"]
Step = Literal["copies", "pyramid", "report", "proof"]
Retry = Literal["nothing", "quarantined"]
Repairs = Literal["no", "from_master", "from_source"]
Codec = Literal["zstd-1", "zstd-3", "zstd-5", "zstd-9", "lz4-5"]
_Integers = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
Method = Literal["auto", "mean", "median", "mode", "min", "max", "nearest"]
Numbers = Literal["bool", _Integers, "float16", "float32", "float64"]
VoxelType = Literal["unknown", Numbers]
# OME-Zarr's names of units (UDUNITS-2); others keep neuroglancer from opening a volume.
VoxelUnit = Literal[
    "auto", "none", "angstrom", "nanometer", "micrometer", "millimeter", "centimeter", "meter", "inch"
]


class _Parameters(BaseModel):
    # Inputs are not repeated: they may hold credentials that do not belong there.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Checksums = Annotated[
    list[str],
    Field(
        title="Checksums",
        description="That source files must have, CRC32C (8 hexadecimal digits) or MD5 (32): one alone for a single "
        "file, else name=checksum; <file>.md5 beside a file counts as well",
        examples=[["line_1.sgy=0a1b2c3d"]],
    ),
]


class Overrides(_Parameters):
    """What to make of header words that do not place traces as they are; names and meaning are MDIO's."""

    AutoChannelWrap: bool = Field(
        default=False,
        title="AutoChannelWrap",
        description="Channels that count on from cable to cable start from 1 in each; those that overlap stay",
    )
    ChannelWrap: bool = Field(
        default=False, title="ChannelWrap", description="Channels start from 1 again after ChannelsPerCable"
    )
    CalculateCable: bool = Field(
        default=False,
        title="CalculateCable",
        description="Cables are counted from channels by ChannelsPerCable",
    )
    ChannelsPerCable: int = Field(default=0, ge=0, title="ChannelsPerCable", description="For the two above")
    AutoShotWrap: bool = Field(
        default=False,
        title="AutoShotWrap",
        description="Shot points that guns take in turns become a dense shot index, per sail line",
    )
    CalculateShotIndex: bool = Field(
        default=False, title="CalculateShotIndex", description="The same, per shot line of a node survey"
    )
    NonBinned: bool = Field(
        default=False,
        title="NonBinned",
        description="Traces are numbered within the remaining dimensions; non_binned_dims become coordinates",
    )
    chunksize: int = Field(default=0, ge=0, title="chunksize", description="Traces per chunk, for NonBinned")
    non_binned_dims: list[str] = Field(
        default=[], title="non_binned_dims", description="Dimensions that NonBinned replaces"
    )
    HasDuplicates: bool = Field(
        default=False,
        title="HasDuplicates",
        description="Traces with equal numbers are told apart by their count",
    )


Template = Literal[
    "auto",
    "PostStack2DTime",
    "PostStack2DDepth",
    "PostStack3DTime",
    "PostStack3DDepth",
    "CdpOffsetGathers2DTime",
    "CdpOffsetGathers2DDepth",
    "CdpAngleGathers2DTime",
    "CdpAngleGathers2DDepth",
    "CdpOffsetGathers3DTime",
    "CdpOffsetGathers3DDepth",
    "CdpAngleGathers3DTime",
    "CdpAngleGathers3DDepth",
    "CocaGathers3DTime",
    "CocaGathers3DDepth",
    "OffsetTiles3DTime",
    "OffsetTiles3DDepth",
    "StreamerShotGathers2D",
    "StreamerShotGathers3D",
    "StreamerFieldRecords3D",
    "ShotReceiverLineGathers3D",
    "ReceiverGathers3D",
    "ObnReceiverGathers3D",
]


class Index(_Parameters):
    """Which header words say where a trace lies in the grid, and what samples are where headers are wrong."""

    bytes: str = Field(
        default="auto",
        pattern=r"^(auto|trace|\d+(,\d+)*)$",
        title="Index bytes",
        description="First byte of each index word in the trace header, slowest dimension first; auto: 189,193 if "
        "they hold a grid, else the only words that do; trace: none, traces in their order",
        examples=["189,193"],
    )
    names: list[str] = Field(
        default=[],
        title="Names",
        description="Name of each index word: dimensions, or words of the template; empty: those of the template",
    )
    types: list[HeaderType] = Field(
        default=[], title="Types", description="Type of each index word; empty: as its values show"
    )
    coordinate_bytes: str = Field(
        default="auto",
        pattern=r"^(auto|none|\d+,\d+)$",
        title="Coordinate bytes",
        description="First bytes of the X and Y coordinates; auto: the first that vary of 181,185, 73,77, 81,85 and "
        "189,193; none: no coordinates",
        examples=["181,185"],
    )
    coordinate_types: list[HeaderType] = Field(
        default=[], title="Coordinate types", description="Type of X and Y; empty: as their values show"
    )
    template: Template = Field(
        default="auto",
        title="Template",
        description="MDIO's name for the kind of survey: its dimensions, header words and coordinates",
    )
    domain: Literal["auto", "time", "depth"] = Field(
        default="auto", title="Domain", description="Of the sample axis; auto: the template's, else time (ms)"
    )
    sample_format: SampleFormat = Field(
        default="header",
        title="Sample format",
        description="What the samples are, where the file says it wrongly; header: as it says (byte 3225)",
    )
    sample_endian: Literal["header", "big", "little"] = Field(
        default="header",
        title="Byte order of samples",
        description="Where it is not that of the headers; header: theirs",
    )
    samples_per_trace: int = Field(
        default=0,
        ge=0,
        le=(1 << 31) - 1,
        title="Samples per trace",
        description="Where headers cannot or do not say it; 0: by headers and the size of the file",
    )
    sample_interval: str = Field(
        default="header",
        pattern=r"^(header|\d+(\.\d+)?(e-?\d+)?)$",
        title="Sample interval",
        description="In ms, or in the unit of depth, where headers say it wrongly; 0: samples are only numbered",
        examples=["4", "0.5"],
    )
    delay: str = Field(
        default="header",
        pattern=r"^(header|-?\d+(\.\d+)?)$",
        title="Delay",
        description="Time or depth of the first sample, where byte 109 says it wrongly",
        examples=["-100"],
    )
    depth_unit: Literal["header", "m", "ft", "none"] = Field(
        default="header",
        title="Unit of depth",
        description="Where the text header and byte 3255 say it wrongly",
    )
    coordinate_unit: Literal["header", "m", "ft", "deg", "none"] = Field(
        default="header",
        title="Unit of coordinates",
        description="Where bytes 89 and 3255 say it wrongly",
    )
    coordinate_scalar: int = Field(
        default=0,
        ge=-(1 << 15),
        lt=1 << 15,
        title="Coordinate scalar",
        description="Where byte 71 says it wrongly: -10 divides coordinates by 10, 10 multiplies them; 0: by byte 71",
        examples=[-10],
    )
    epsg: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="EPSG code",
        description="Of the coordinates' reference system; 0: as the text header says",
        examples=[23031],
    )
    unplaced_codes: list[int] = Field(
        default=[],
        title="Codes without a place",
        description="Identification codes (byte 29) of traces that have no cell in the grid; export gives them back",
        examples=[[2]],
    )
    trailing: Literal["zeros", "keep"] = Field(
        default="zeros",
        title="After the last trace",
        description="What may follow the last trace and is kept for export; keep: anything",
    )
    checksums: Checksums = []
    overrides: Overrides = Field(
        default=Overrides(),
        title="Overrides",
        description="For headers that do not place traces as they are: gathers, wrapped channels, duplicates",
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields of later versions that have their default, so that stored requests stay the same."""
        defaults = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if name not in _LATER_FIELDS or value != defaults[name].default
        }


# Of `Index`: every field that was added after requests were first stored.
_LATER_FIELDS = frozenset(
    (
        "samples_per_trace",
        "sample_interval",
        "delay",
        "depth_unit",
        "coordinate_unit",
        "coordinate_scalar",
        "coordinate_types",
        "epsg",
        "unplaced_codes",
        "trailing",
    )
)


class Master(_Parameters):
    """How the lossless array is stored."""

    chunks: list[int] = Field(
        default=[],
        title="Chunks",
        description="Samples a reader decodes at once, per axis; empty: 512 x 512, 64 x 64 x 64, above that 4 MiB",
    )
    shards: list[int] = Field(
        default=[],
        title="Shards",
        description="Samples per stored object, per axis, multiples of the chunks; empty: about 32 MB on object "
        "stores and one chunk on local disk; 0: one chunk",
    )
    codec: Codec = Field(
        default="zstd-1", title="Codec", description="Compressor and level, after a byte shuffle"
    )


class Raw(_Parameters):
    """What a file of voxels without a header holds."""

    dtype: VoxelType = Field(
        default="unknown", title="Type", description="Of the voxels in a raw binary file"
    )
    shape: list[int] = Field(
        default=[],
        title="Shape",
        description="Voxels along z, y and x in a raw binary file",
        examples=[[1000, 2048, 2048]],
    )
    offset: int = Field(default=0, ge=0, title="Offset", description="Bytes before the first voxel")
    order: Literal["C", "F"] = Field(
        default="C", title="Order", description="C: neighbours in the file are neighbours in x; F: in z"
    )
    byte_order: Literal["little", "big"] = Field(
        default="little", title="Byte order", description="Of voxels of two bytes or more"
    )


class Image(_Parameters):
    """What the voxels of an image are, and where they lie."""

    field_name: str = Field(
        default="attenuation",
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        title="Field",
        description="What a voxel's value is; the volume's array is named so",
    )
    field_unit: str = Field(
        default="", title="Unit of the field", description="Of a voxel's value", examples=["1/cm"]
    )
    description: str = Field(
        default="", title="Description", description="Of the sample and the scan, in a sentence"
    )
    voxel_length: list[float] = Field(
        default=[],
        title="Voxel length",
        description="Distance of neighbours along z, y and x, or one number for all; empty: as the files say, else 1",
    )
    voxel_unit: VoxelUnit = Field(
        default="auto",
        title="Voxel unit",
        description="Unit of lengths and origin; auto: as the files say, else none",
    )
    voxel_origin: list[float] = Field(
        default=[],
        title="Origin",
        description="Where the first voxel lies, z, y and x; empty: as the files say, else 0",
    )
    labels: bool = Field(
        default=False,
        title="Labels",
        description="The values are names of phases, not measures: levels count them, unless a method is named",
    )
    checksums: Checksums = []
    raw: Raw = Field(default=Raw(), title="Raw binary", description="Only for files without a header")


class Form(_Parameters):
    """What an image that is made has the form of."""

    shape: list[int] = Field(
        default=[256, 256, 256],
        title="Shape",
        description="Extents of the array",
        examples=[[512, 512, 512]],
    )
    chunks: list[int] = Field(default=[64, 64, 64], title="Chunks", description="Extents of its chunks")
    dtype: Numbers = Field(default="uint16", title="Type", description="Of its values")


class Copy(_Parameters):
    """A copy of the master in other chunks."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        title="Name",
        description="The array's, in small letters, digits and _",
        examples=["fast_inline"],
    )
    chunks: list[int] = Field(
        title="Chunks", description="Samples per chunk, per axis", examples=[[4, 512, 512]]
    )


class Copies(_Parameters):
    """Copies of the master, each chunked for one way of reading."""

    presets: list[Preset] = Field(
        default=["fast_inline", "fast_crossline", "fast_offset", "fast_time"],
        title="Presets",
        description="Slices that should read fast: across the first dimension, the second, the third of four, "
        "or the samples",
    )
    more: list[Copy] = Field(default=[], title="More", description="Copies with chunks of your own")
    quality: Quality = Field(
        default="auto",
        title="Quality",
        description="Largest error in standard deviations of the master: very_low 6, low 3, medium 1, high 0.1, "
        "very_high 0.01, ultra 0.001; or lossless. auto: as a copy is that is there, else low",
    )
    tolerance: float = Field(
        default=0,
        ge=0,
        title="Tolerance",
        description="Largest error in the unit of the data, instead of a quality; 0: by quality",
    )


class Levels(_Parameters):
    """Coarser levels of the master."""

    factor: list[int] = Field(
        default=[],
        title="Factor",
        description="Samples taken together per axis; empty: 2 on the last three, and on finer voxel axes alone first",
    )
    method: Method = Field(
        default="auto",
        title="Method",
        description="How samples become one; auto: their mean, of labels the most frequent",
    )
    levels: int = Field(
        default=4,
        ge=0,
        le=16,
        title="Levels",
        description="How many levels below the master; 0: until one is small enough, or a single chunk",
    )
    until: int = Field(
        default=0,
        ge=0,
        title="Until",
        description="The first level whose longest axis has at most so many samples is the last; 0: by number",
    )


class Following(_Parameters):
    """What is made of a master after it; planned with it, so that what cannot be made is refused at once."""

    copies: Copies | None = None
    levels: Levels | None = None


class Publication(_Parameters):
    """How each source of a sweep becomes a volume."""

    index: Index = Field(
        default=Index(), title="Index", description="Which header words say where a trace lies"
    )
    master: Master = Field(default=Master(), title="Master", description="How the lossless array is stored")
    copies: Copies = Field(
        default=Copies(), title="Copies", description="Copies in other chunks, mostly lossy"
    )
    pyramid: Levels = Field(default=Levels(), title="Pyramid", description="Coarser levels")
    steps: list[Step] = Field(
        default=["copies", "pyramid", "report", "proof"],
        title="Steps",
        description="What is done beyond the master; without proof no staging copy is safe to release",
    )


class Export(_Parameters):
    """What of a volume is written as SEG-Y, and in which form; by default the source's own bytes."""

    selection: list[str] = Field(
        default=[],
        title="Selection",
        description="Ranges of coordinates, both ends included, such as inline=100:200 or time=:1500; empty: all",
        examples=[["inline=100:200", "time=0:1500"]],
    )
    mask: OptionalUrl = Field(
        default="",
        title="Mask",
        description="A .npy file of booleans over the grid, true where a trace is wanted; empty: all",
    )
    sample_format: Literal["source", "ibm32", "float32", "float64"] = Field(
        default="source", title="Sample format", description="Of the samples written (codes 1, 5 and 6)"
    )
    endian: Literal["source", "big", "little"] = Field(
        default="source", title="Byte order", description="Of headers and samples"
    )
    order: Literal["source", "grid"] = Field(
        default="source",
        title="Order",
        description="Of the traces: the source's, or by the dimensions of the volume",
    )


class StorageOptions(_Parameters):
    """Non-secret options of the stores; credentials come from the environment or from Prefect blocks."""

    credentials: str = Field(
        default="",
        pattern=r"^(BLOCK(,BLOCK)*)?$".replace(
            "BLOCK", "(aws|minio|gcp|azure-blob-storage)-credentials/[a-z0-9][a-z0-9-]*"
        ),
        title="Credentials",
        description="Prefect blocks by type and name, where this machine has no identity of its own",
        examples=["aws-credentials/staging", "aws-credentials/staging,gcp-credentials/volumes"],
    )
    endpoint_url: str = Field(
        default="",
        pattern=r"^(https?://[^@?#\s]+)?$",
        title="Endpoint",
        description="For S3-compatible stores",
        examples=["https://minio.example.org:9000"],
    )
    # As narrow as such names are, so that a key in their place is refused.
    region_name: str = Field(
        default="",
        pattern=r"^[a-z0-9-]{0,32}$",
        title="Region",
        description="Of S3-compatible stores",
        examples=["eu-west-1"],
    )
    requester_pays: bool = Field(
        default=False, title="Requester pays", description="Whose bucket it is does not pay for the requests"
    )
    account_name: str = Field(
        default="",
        pattern=r"^[a-z0-9]{0,24}$",
        title="Azure account",
        description="Storage account of az:// URLs, which name none",
    )
    project: str = Field(
        default="",
        pattern=r"^([a-z0-9.-]+:)?[a-z0-9-]{0,30}$",
        title="Google Cloud project",
        description="That is charged for requests to gs:// URLs",
    )
    storage_class: str = Field(
        default="",
        pattern=r"^(([\w/]+=)?[A-Za-z_]+(,([\w/]+=)?[A-Za-z_]+)*)?$",
        title="Storage class",
        description="Of chunks, in the store's own words, for all arrays or by array; metadata has the bucket's",
        examples=["STANDARD_IA", "STANDARD_IA,fast_inline=STANDARD"],
    )
    accept_unconditional_writes: bool = Field(
        default=False,
        title="Accept unconditional writes",
        description="Use a store that cannot create an object only if it is absent; see to it that one run at a time "
        "writes a volume",
    )


class Run(_Parameters):
    """How the run is carried out; nothing here changes the data."""

    dry_run: bool = Field(
        default=False, title="Dry run", description="Say what would be done and write nothing"
    )
    memory: str = Field(
        default="auto",
        pattern=r"^(auto|\d+(\.\d+)?\s*[kMGT]i?B)$",
        title="Memory",
        description="What the run may use; auto: 80 % of the machine or container",
        examples=["4 GiB"],
    )
    dask: str = Field(
        default="threads",
        pattern=r"^(threads|local:\d+|cluster|(tcp|tls)://[^@?]+)$",
        title="Compute",
        description="threads of this process, local:N processes, cluster (the operator's), or a scheduler's address",
    )
    lock_wait: float = Field(
        default=60,
        ge=0,
        title="Wait for the lock",
        description="Seconds to wait while another run writes the volume",
    )
    accept_versions: bool = Field(
        default=False,
        title="Accept versions",
        description="Go on with a run that other library versions began",
    )
    created_on: str = Field(
        default="",
        title="Created on",
        description="Time stamp to store instead of the present, for reproducible volumes (ISO 8601)",
        examples=["2026-01-01T00:00:00+00:00"],
    )
    storage_options: StorageOptions = Field(
        default=StorageOptions(), title="Storage options", description="Of the stores of all URLs of the run"
    )
