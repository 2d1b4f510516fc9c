"""Parameters of the verbs, typed once for flows, forms in the Prefect UI and the command line.

They use only shapes that Prefect's form renders well: text, numbers, choices, lists and nested models with real
defaults; no dictionaries and no optional fields. An empty list or 0 means "choose for me".
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

# Neither credentials before "@" nor signed queries after "?" can be written into a URL, and chained URLs are refused.
Url = Annotated[
    str,
    Field(
        pattern=r"^(:?[^@?:])+$",
        description="A local path, or s3://, gs://, az:// without credentials in it",
        examples=["s3://bucket/name"],
    ),
]

# Only the main job may be started by a sweep; {size} becomes s, m or l.
DeploymentName = Annotated[
    str,
    Field(
        pattern=r"^(publish/[a-z0-9-]+(\{size\})?)?$",
        description="publish/<deployment>; {size} stands for s, m or l",
        examples=["publish/publish-kubernetes-{size}"],
    ),
]
MaxActive = Annotated[int, Field(ge=1, le=200)]
SettleMinutes = Annotated[float, Field(ge=0, le=1440)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Port = Annotated[int, Field(ge=0, le=65535)]

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

GroupChunks = Annotated[
    str,
    Field(
        pattern=r"^(auto|[^=,@?:/]+=[0-9]+(,[^=,@?:/]+=[0-9]+)*)?$",
        description="Extents of chunks by dimension, or auto: writes a whole group of another tool to the target",
        examples=["time=64,lat=128,lon=128"],
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
# What is asked of a copy, and of each copy by its name: snr=40,fast_time=lossless.
TARGETS = ("snr", "psnr", "ratio")
_FIGURES = (*TARGETS, "tolerance")
_ASKED = (
    r"(auto|very_low|low|medium|high|very_high|ultra|lossless|(snr|psnr|ratio)=\d{1,4}(\.\d{1,3})?"
    r"|tolerance=\d+(\.\d+)?(e-?\d{1,3})?)"
)
Quality = Annotated[str, Field(pattern=rf"^([a-z][a-z0-9_]*=)?{_ASKED}(,[a-z][a-z0-9_]*={_ASKED})*$")]
LossyCodec = Annotated[
    str, Field(pattern=r"^([a-z][a-z0-9_]*=)?(zfp|rounded)(,[a-z][a-z0-9_]*=(zfp|rounded))*$")
]
Preset = Literal["fast_inline", "fast_crossline", "fast_offset", "fast_time", "fast_z", "fast_y", "fast_x"]
Step = Literal["copies", "pyramid", "report", "proof"]
Retry = Literal["nothing", "quarantined"]
Kinds = Literal["all", "segy"]
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
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields of later versions that have their default, so that stored requests stay the same."""
        fields = type(self).model_fields
        later = _LATER_FIELDS.get(type(self).__name__, frozenset())
        return {
            name: value
            for name, value in handler(self).items()
            if name not in later or getattr(self, name) != fields[name].default
        }


# Fields that were added after requests were first stored, by their model.
_LATER_FIELDS: dict[str, frozenset[str]] = {
    "Image": frozenset(("image", "labels_of")),
    "Index": frozenset(
        (
            "file_format",
            "samples_per_trace",
            "sample_interval",
            "delay",
            "depth_unit",
            "coordinate_unit",
            "coordinate_scalar",
            "coordinate_types",
            "epsg",
            "split",
            "traces",
            "unplaced_codes",
            "trailing",
        )
    ),
    "Publication": frozenset(("image",)),
    "Copies": frozenset(("lossy_codec",)),
    "StorageOptions": frozenset(
        (
            "anonymous",
            "accept_plain_http",
            "source_credentials",
            "source_endpoint_url",
            "source_region_name",
            "source_account_name",
            "source_project",
            "source_requester_pays",
            "source_anonymous",
        )
    ),
}


Checksums = Annotated[
    list[str],
    Field(
        title="Checksums",
        description="Expected checksums of the source files, CRC32C (8 hexadecimal digits) or MD5 (32). For one file "
        "the checksum, for several name=checksum. A file <name>.md5 beside the source is used too",
        examples=[["line_1.sgy=0a1b2c3d"]],
    ),
]


class Overrides(_Parameters):
    """Corrections for headers that do not place traces directly, under MDIO's names."""

    model_config = ConfigDict(title="Grid overrides")

    AutoChannelWrap: bool = Field(
        default=False,
        title="AutoChannelWrap",
        description="Number channels from 1 in each cable, if their numbers continue from cable to cable",
    )
    ChannelWrap: bool = Field(
        default=False,
        title="ChannelWrap",
        description="Number channels from 1 again in each cable, by the number of channels per cable",
    )
    CalculateCable: bool = Field(
        default=False,
        title="CalculateCable",
        description="Compute the cable from the channel and the number of channels per cable",
    )
    ChannelsPerCable: int = Field(
        default=0,
        ge=0,
        title="ChannelsPerCable",
        description="Number of channels per cable, for channel wrap and calculated cables",
    )
    AutoShotWrap: bool = Field(
        default=False,
        title="AutoShotWrap",
        description="Compute a dense shot index per sail line, for alternating guns",
    )
    CalculateShotIndex: bool = Field(
        default=False,
        title="CalculateShotIndex",
        description="Compute a dense shot index per shot line of a node survey",
    )
    NonBinned: bool = Field(
        default=False,
        title="NonBinned",
        description="Number traces within the remaining dimensions; non_binned_dims become coordinates",
    )
    chunksize: int = Field(default=0, ge=0, title="chunksize", description="Traces per chunk, for NonBinned")
    non_binned_dims: list[str] = Field(
        default=[], title="non_binned_dims", description="Dimensions that NonBinned replaces"
    )
    HasDuplicates: bool = Field(
        default=False,
        title="HasDuplicates",
        description="Add a dimension that counts traces with equal index values",
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
    """Header fields that place a trace in the grid, and corrections of what headers say."""

    bytes: str = Field(
        default="auto",
        pattern=r"^(auto|trace|\d+(,\d+)*)$",
        title="Index bytes",
        description="First byte of each index field in the trace header, slowest dimension first. auto: 189,193 if "
        "they form a grid, else the only fields that do. trace: no index, traces in file order",
        examples=["189,193"],
    )
    names: list[str] = Field(
        default=[],
        title="Names",
        description="Name of each index field: a dimension, or a field of the template. Empty: the template's",
    )
    types: list[HeaderType] = Field(
        default=[], title="Types", description="Type of each index field. Empty: detected from its values"
    )
    coordinate_bytes: str = Field(
        default="auto",
        pattern=r"^(auto|none|\d+,\d+)$",
        title="Coordinate bytes",
        description="First bytes of X and Y. auto: the first pair that varies of 181,185, 73,77, 81,85 and 189,193. "
        "none: no coordinates",
        examples=["181,185"],
    )
    coordinate_types: list[HeaderType] = Field(
        default=[], title="Coordinate types", description="Type of X and Y. Empty: detected from their values"
    )
    template: Template = Field(
        default="auto",
        title="Template",
        description="MDIO's name for the kind of survey: its dimensions, header fields and coordinates",
    )
    domain: Literal["auto", "time", "depth"] = Field(
        default="auto",
        title="Domain",
        description="Domain of the sample axis. auto: the template's, else time (ms)",
    )
    sample_format: SampleFormat = Field(
        default="header",
        title="Sample format",
        description="Format of the samples, if the file states it wrongly. header: as byte 3225 states",
    )
    sample_endian: Literal["header", "big", "little"] = Field(
        default="header",
        title="Byte order of samples",
        description="Byte order of the samples, if it differs from the headers'. header: the same",
    )
    file_format: Literal["segy", "su"] = Field(
        default="segy",
        title="File format",
        description="su: Seismic Unix, which has traces alone: no textual or binary header, IEEE samples, either byte "
        "order. In a sweep: files named .su are sources, too",
    )
    samples_per_trace: int = Field(
        default=0,
        ge=0,
        le=(1 << 31) - 1,
        title="Samples per trace",
        description="Number of samples, if the headers do not state it. 0: from headers and file size",
    )
    sample_interval: str = Field(
        default="header",
        pattern=r"^(header|\d+(\.\d+)?(e-?\d+)?)$",
        title="Sample interval",
        description="Interval in ms or in the unit of depth, if headers state it wrongly. 0: samples are only numbered",
        examples=["4", "0.5"],
    )
    delay: str = Field(
        default="header",
        pattern=r"^(header|-?\d+(\.\d+)?)$",
        title="Delay",
        description="Time or depth of the first sample, if byte 109 states it wrongly",
        examples=["-100"],
    )
    depth_unit: Literal["header", "m", "ft", "none"] = Field(
        default="header",
        title="Unit of depth",
        description="Unit of a depth axis, if the text header and byte 3255 state it wrongly",
    )
    coordinate_unit: Literal["header", "m", "ft", "deg", "none"] = Field(
        default="header",
        title="Unit of coordinates",
        description="Unit of X and Y, if bytes 89 and 3255 state it wrongly",
    )
    coordinate_scalar: int = Field(
        default=0,
        ge=-(1 << 15),
        lt=1 << 15,
        title="Coordinate scalar",
        description="Scalar of X and Y, if byte 71 states it wrongly: -10 divides by 10, 10 multiplies. 0: byte 71",
        examples=[-10],
    )
    epsg: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        title="EPSG code",
        description="EPSG code of the coordinate reference system. 0: as the text header states",
        examples=[23031],
    )
    unplaced_codes: list[int] = Field(
        default=[],
        title="Unplaced trace codes",
        description="Trace codes (byte 29) of traces to keep outside of the grid; an export writes them back",
        examples=[[2]],
    )
    trailing: Literal["zeros", "keep"] = Field(
        default="zeros",
        title="After the last trace",
        description="Bytes allowed after the last trace, stored for export. zeros: only zeros. keep: any",
    )
    traces: str = Field(
        default="",
        pattern=r"^(\d+(-\d+)?(,\d+(-\d+)?)*)?$",
        title="Traces",
        description="Only these traces of the source, counted from 1, as in 31-80,95; empty: all",
        examples=["31-80"],
    )
    split: Literal["no", "line"] = Field(
        default="no",
        title="Split",
        description="line: publish each 2-D line of the source as a volume of its own; VOLUME is then their folder",
    )
    checksums: Checksums = []
    overrides: Overrides = Field(
        default=Overrides(),
        title="Overrides",
        description="For headers that do not place traces directly: wrapped channels, shot lines, duplicates",
    )


class Master(_Parameters):
    """Storage of the lossless array."""

    chunks: list[int] = Field(
        default=[],
        title="Chunks",
        description="Samples per chunk, decoded together, per axis. Empty: 512 x 512 in 2-D, 64 x 64 x 64 in 3-D, "
        "else up to 4 MiB",
    )
    shards: list[int] = Field(
        default=[],
        title="Shards",
        description="Samples per stored object, per axis, multiples of the chunks. Empty: about 32 MB on object "
        "stores, one chunk on local disk if the array has at most 100,000 chunks. 0: one chunk",
    )
    codec: Codec = Field(
        default="zstd-1", title="Codec", description="Compressor and level, after a byte shuffle"
    )


class Raw(_Parameters):
    """Layout of a voxel file without a header."""

    model_config = ConfigDict(title="Raw binary")

    dtype: VoxelType = Field(
        default="unknown",
        title="Type",
        description="Type of the voxels in a raw binary file. unknown: as a .vgi, .xtekct or .pcr beside it says",
    )
    shape: list[int] = Field(
        default=[],
        title="Shape",
        description="Number of voxels along z, y and x in a raw binary file",
        examples=[[1000, 2048, 2048]],
    )
    offset: int = Field(default=0, ge=0, title="Offset", description="Bytes before the first voxel")
    order: Literal["C", "F"] = Field(
        default="C", title="Order", description="C: x varies fastest in the file. F: z varies fastest"
    )
    byte_order: Literal["little", "big"] = Field(
        default="little", title="Byte order", description="Byte order of voxels of two bytes or more"
    )


class Image(_Parameters):
    """Meaning and position of the voxels."""

    field_name: str = Field(
        default="attenuation",
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        title="Field",
        description="Name of what a voxel measures; it becomes the name of the array",
    )
    field_unit: str = Field(
        default="", title="Unit of the field", description="Unit of a voxel's value", examples=["1/cm"]
    )
    description: str = Field(
        default="", title="Description", description="One sentence about the sample and the scan"
    )
    voxel_length: list[float] = Field(
        default=[],
        title="Voxel length",
        description="Distance between voxels along z, y and x, or one number. Empty: as the files state, else 1",
    )
    voxel_unit: VoxelUnit = Field(
        default="auto",
        title="Voxel unit",
        description="Unit of lengths and origin. auto: as the files state, else none",
    )
    voxel_origin: list[float] = Field(
        default=[],
        title="Origin",
        description="Position of the first voxel, z, y and x. Empty: as the files state, else 0",
    )
    labels: bool = Field(
        default=False,
        title="Labels",
        description="Values are labels of phases, not measurements; levels take the most frequent one",
    )
    labels_of: OptionalUrl = Field(
        default="",
        title="Labels of",
        description="The image volume that these labels describe; VOLUME is then the name of the labels, stored in "
        "rock.zarr/labels/NAME",
    )
    checksums: Checksums = []
    image: int = Field(
        default=-1,
        ge=-1,
        title="Image",
        description="Number of the image in an OME-TIFF of several, from 0. -1: the only one",
    )
    raw: Raw = Field(default=Raw(), title="Raw binary", description="Only for files without a header")


class Form(_Parameters):
    """Shape, chunks and type of an array to make."""

    model_config = ConfigDict(title="Shape and type")

    shape: list[int] = Field(
        default=[256, 256, 256],
        title="Shape",
        description="Extents of the array",
        examples=[[512, 512, 512]],
    )
    chunks: list[int] = Field(default=[64, 64, 64], title="Chunks", description="Extents of the chunks")
    dtype: Numbers = Field(default="uint16", title="Type", description="Type of the values")


class Copy(_Parameters):
    """A copy of the master in other chunks."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$",
        title="Name",
        description="Name of the array: lower-case letters, digits and _",
        examples=["fast_inline"],
    )
    chunks: list[int] = Field(
        title="Chunks", description="Samples per chunk, per axis", examples=[[4, 512, 512]]
    )


def _quality_first(schema: dict[str, Any]) -> None:
    """Let forms ask for the quality of copies before the rest; stored requests keep their order."""
    fields = schema["properties"]
    schema["properties"] = {"quality": fields["quality"]} | fields


class Copies(_Parameters):
    """Copies of the master in other chunks, each for one way of reading."""

    model_config = ConfigDict(json_schema_extra=_quality_first)

    presets: list[Preset] = Field(
        default=["fast_inline", "fast_crossline", "fast_offset", "fast_time"],
        title="Presets",
        description="One copy for each kind of slice to read fast. Surveys: slices across the first dimension, the "
        "second, the third of four, or the samples. Images: across z, y or x; publish makes only those named here",
    )
    more: list[Copy] = Field(default=[], title="More", description="Copies with your own chunks")
    quality: Quality = Field(
        default="auto",
        title="Quality",
        description="Least SNR or PSNR in dB (snr=40, psnr=60) or compression ratio (ratio=10); or largest error in "
        "standard deviations: very_low 6, low 3, medium 1, high 0.1, very_high 0.01, ultra 0.001; or lossless. For "
        "images, psnr and errors are relative to the display window: 10 %, 5 %, 2 %, 1 %, 0.1 %, 0.01 %. auto: as an "
        "existing copy; without one, snr=40 for survey data that swing about zero, else lossless. By copy: "
        "snr=40,fast_time=lossless",
        examples=["snr=40", "high", "snr=40,fast_time=lossless"],
    )
    tolerance: float = Field(
        default=0,
        ge=0,
        title="Tolerance",
        description="Largest error in the unit of the data, instead of a quality. 0: use the quality",
    )
    lossy_codec: LossyCodec = Field(
        default="zfp",
        title="Lossy codec",
        description="zfp, or rounded for readers without ZFP: floats rounded to a multiple of a power of two, in zstd. "
        "By copy: zfp,fast_time=rounded",
        examples=["rounded"],
    )

    def quality_of(self, name: str) -> str:
        """Return the quality requested for one copy."""
        return _by_name(self.quality, _FIGURES).get(name, self.common_quality)

    @property
    def common_quality(self) -> str:
        """Return the quality of copies that are not named."""
        return _by_name(self.quality, _FIGURES).get("", "auto")

    def codec_of(self, name: str) -> str:
        """Return the codec of one copy, if it is lossy."""
        codecs = _by_name(self.lossy_codec, ())
        return codecs.get(name, codecs.get("", "zfp"))

    @property
    def named(self) -> list[str]:
        """Return the copies whose quality or codec is requested by name."""
        named = _by_name(self.quality, _FIGURES) | _by_name(self.lossy_codec, ())
        return [name for name in named if name]


def _by_name(text: str, kinds: tuple[str, ...]) -> dict[str, str]:
    """Parse text such as snr=40,fast_time=lossless into values by name; the value for all others has the name ''."""
    stated: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        stated |= {name: value} if equals and name not in kinds else {"": part}
    return stated


class Levels(_Parameters):
    """Coarser levels of the master."""

    factor: list[int] = Field(
        default=[],
        title="Factor",
        description="Samples combined per axis. Empty: 2 on the last three axes; for voxels of unequal "
        "lengths, the finer axes first",
    )
    method: Method = Field(
        default="auto",
        title="Method",
        description="How samples are combined. auto: mean, or the most frequent value for labels",
    )
    levels: int = Field(
        default=4,
        ge=0,
        le=16,
        title="Levels",
        description="Largest number of levels. By default a level of a single chunk is the last. 0: no limit",
    )
    until: int = Field(
        default=0,
        ge=0,
        title="Until",
        description="Stop at the first level whose longest axis has at most this many samples, also below a single "
        "chunk. 0: at a single chunk",
    )


class Following(_Parameters):
    """Copies and levels that follow a master. They are planned with it, so that impossible ones are refused at once."""

    copies: Copies | None = Field(default=None, title="Copies", description="Copies of the master")
    levels: Levels | None = Field(default=None, title="Pyramid", description="Coarser levels of the master")


class Publication(_Parameters):
    """Settings for each volume of a sweep."""

    index: Index = Field(
        default=Index(), title="Index", description="Header fields that place a trace; for SEG-Y only"
    )
    image: Image = Field(
        default=Image(), title="Image", description="Meaning and position of the voxels; for images only"
    )
    master: Master = Field(default=Master(), title="Master", description="Storage of the lossless array")
    copies: Copies = Field(
        default=Copies(),
        title="Copies",
        description="Copies of surveys in other chunks, mostly lossy; a scan gets only those that its sidecar names",
    )
    pyramid: Levels = Field(default=Levels(), title="Pyramid", description="Coarser levels")
    steps: list[Step] = Field(
        default=["copies", "pyramid", "report", "proof"],
        title="Steps",
        description="Stages after the master. Without proof no staging file is safe to release",
    )


class Export(_Parameters):
    """Part and form of the SEG-Y to write; by default the source's own bytes."""

    selection: list[str] = Field(
        default=[],
        title="Selection",
        description="Ranges of coordinates, both ends included, such as inline=100:200 or time=:1500. Empty: all",
        examples=[["inline=100:200", "time=0:1500"]],
    )
    mask: OptionalUrl = Field(
        default="",
        title="Mask",
        description="A .npy file of booleans over the grid, true for each trace to write. Empty: all",
    )
    sample_format: Literal["source", "ibm32", "float32", "float64"] = Field(
        default="source",
        title="Sample format",
        description="Format of the samples written (codes 1, 5 and 6)",
    )
    endian: Literal["source", "big", "little"] = Field(
        default="source", title="Byte order", description="Byte order of headers and samples"
    )
    file_format: Literal["source", "segy"] = Field(
        default="source",
        title="File format",
        description="segy: write SEG-Y even from Seismic Unix data, with generated headers; big endian by default",
    )
    order: Literal["source", "grid"] = Field(
        default="source",
        title="Order",
        description="Order of the traces: the source's, or by the dimensions of the volume",
    )


_BLOCKS = r"^(BLOCK(,BLOCK)*)?$".replace(
    "BLOCK", "(aws|minio|gcp|azure-blob-storage)-credentials/[a-z0-9][a-z0-9-]*"
)
_ENDPOINT = r"^(https?://[^@?#\s]+)?$"
# As narrow as such names are, so that a key in their place is refused.
_REGION = r"^[a-z0-9-]{0,32}$"
_ACCOUNT = r"^[a-z0-9]{0,24}$"
_PROJECT = r"^([a-z0-9.-]+:)?[a-z0-9-]{0,30}$"


class StorageOptions(_Parameters):
    """Options of the stores. Credentials come from the environment or from Prefect blocks."""

    model_config = ConfigDict(title="Stores")

    credentials: str = Field(
        default="",
        pattern=_BLOCKS,
        title="Credentials",
        description="Prefect blocks by type and name, if this machine has no identity of its own",
        examples=["aws-credentials/staging", "aws-credentials/staging,gcp-credentials/volumes"],
    )
    endpoint_url: str = Field(
        default="",
        pattern=_ENDPOINT,
        title="Endpoint",
        description="URL of an S3-compatible store",
        examples=["https://minio.example.org:9000"],
    )
    region_name: str = Field(
        default="",
        pattern=_REGION,
        title="Region",
        description="Region of an S3-compatible store",
        examples=["eu-west-1"],
    )
    requester_pays: bool = Field(
        default=False, title="Requester pays", description="Pay for requests in place of the bucket's owner"
    )
    account_name: str = Field(
        default="",
        pattern=_ACCOUNT,
        title="Azure account",
        description="Storage account of az:// URLs",
    )
    project: str = Field(
        default="",
        pattern=_PROJECT,
        title="Google Cloud project",
        description="Project to bill for requests to gs:// URLs",
    )
    storage_class: str = Field(
        default="",
        pattern=r"^(([\w/]+=)?[A-Za-z_]+(,([\w/]+=)?[A-Za-z_]+)*)?$",
        title="Storage class",
        description="Storage class of chunks, for all arrays or by array. Metadata keep the bucket's class",
        examples=["STANDARD_IA", "STANDARD_IA,fast_inline=STANDARD"],
    )
    accept_unconditional_writes: bool = Field(
        default=False,
        title="Accept unconditional writes",
        description="Use a store without create-if-absent. You then ensure that only one run at a time writes a "
        "volume",
    )
    anonymous: bool = Field(
        default=False, title="Anonymous", description="Send no credentials, for public data"
    )
    accept_plain_http: bool = Field(
        default=False,
        title="Accept plain HTTP",
        description="Also read http:// sources of other machines, which anybody on the network can read and change",
    )
    # Options of the sources, where these lie in another store than the volumes. Empty: as for all URLs.
    source_credentials: str = Field(
        default="",
        pattern=_BLOCKS,
        title="Source: credentials",
        description="Prefect blocks for the sources, if not those of the volumes",
        examples=["minio-credentials/staging"],
    )
    source_endpoint_url: str = Field(
        default="",
        pattern=_ENDPOINT,
        title="Source: endpoint",
        description="URL of the S3-compatible store of the sources, if not that of the volumes",
        examples=["https://minio.example.org:9000"],
    )
    source_region_name: str = Field(
        default="",
        pattern=_REGION,
        title="Source: region",
        description="Region of the sources, if not that of the volumes",
    )
    source_account_name: str = Field(
        default="",
        pattern=_ACCOUNT,
        title="Source: Azure account",
        description="Storage account of the sources, if not that of the volumes",
    )
    source_project: str = Field(
        default="",
        pattern=_PROJECT,
        title="Source: Google Cloud project",
        description="Project to bill for reading the sources, if not that of the volumes",
    )
    source_requester_pays: bool = Field(
        default=False,
        title="Source: requester pays",
        description="Pay for requests to the sources in place of their bucket's owner",
    )
    source_anonymous: bool = Field(
        default=False, title="Source: anonymous", description="Send no credentials for the sources"
    )


class Run(_Parameters):
    """Settings of the run; none changes the data."""

    dry_run: bool = Field(
        default=False, title="Dry run", description="Show what the run would do, and write nothing"
    )
    memory: str = Field(
        default="auto",
        pattern=r"^(auto|\d+(\.\d+)?\s*[kMGT]i?B)$",
        title="Memory",
        description="Memory that the run may use. auto: 80 % of the machine or container",
        examples=["4 GiB"],
    )
    dask: str = Field(
        default="threads",
        pattern=r"^(threads|local:\d+|cluster|(tcp|tls)://[^@?]+)$",
        title="Compute",
        description="threads of this process, local:N processes, cluster (the operator's), or a scheduler's URL",
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
        description="Resume a run that other library versions began",
    )
    created_on: str = Field(
        default="",
        title="Created on",
        description="Time stamp to store instead of the current time, for reproducible volumes (ISO 8601)",
        examples=["2026-01-01T00:00:00+00:00"],
    )
    storage_options: StorageOptions = Field(
        default=StorageOptions(), title="Storage options", description="Options of the stores of all URLs"
    )
