"""Define the schema of the root document: the fields that this version reads, their types and their limits."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.volume import limits

Number = int | Annotated[float, Field(allow_inf_nan=False)]  # an integer stays one
_Path = Annotated[str, Field(max_length=1024)]
_Extents = Annotated[
    list[Annotated[int, Field(ge=0, le=limits.EXTENT, strict=True)]], Field(max_length=limits.DIMENSIONS)
]
_Steps = Annotated[list[Number], Field(max_length=limits.DIMENSIONS)]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class _Entry(BaseModel):
    """Fields that are not named pass: later versions add some."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the root holds it."""
        return self.model_dump(exclude_unset=True)

    def has(self, name: str) -> bool:
        """Return whether the root states a field; else the field has its default."""
        return name in self.model_fields_set


class KeptEntry(_Entry):
    """Size and checksum of a kept document of a stage."""

    bytes: _Count
    crc32c: _Checksum


class StageEntry(_Entry):
    """A finished stage: digests of its plan and of its request, and its stored documents."""

    plan: str
    request: str = ""
    kept: dict[Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z]+$")], KeptEntry] = {}


class LevelEntry(_Entry):
    """An array of an image at one resolution, with scale and translation of its samples."""

    path: _Path
    scale: _Steps
    translation: _Steps


class AnnexEntry(_Entry):
    """The array of another tool that copies and levels are made of."""

    array: str = ""
    name: str = ""
    axes: list[dict[str, Any]] = []
    above: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    meaning: dict[str, Any] = {}


class SourceEntry(_Entry):
    """A source of the volume; which fields it has depends on its kind (FORMAT.md)."""

    url: str
    bytes: _Count
    etag: str
    first_trace: int = 0
    trace_count: int = 0
    crc32c: str = ""
    crc32c_part_bytes: int = 0
    crc32c_parts: list[_Checksum] = []
    md5: str = ""
    file: dict[str, Any] = {}
    archive: dict[str, Any] = {}
    notes: list[str] = []
    files: int = 0
    slice_count: int = 0
    expected: str = ""


class AxisEntry(_Entry):
    """A summary of the labels of an axis."""

    name: str
    first: Number
    last: Number
    step: Number | str
    count: int
    unit: str = ""


class PlaceEntry(_Entry):
    """The place of a survey."""

    unit: str = ""
    x: Annotated[list[Number], Field(max_length=2)] = []
    y: Annotated[list[Number], Field(max_length=2)] = []
    corners: list[dict[str, Number]] = []
    bin_size: dict[str, Number] = {}
    azimuth: dict[str, Number] = {}
    misfit: Number | None = None


class LooksEntry(_Entry):
    """How viewers show an image."""

    unit: str = ""
    time_unit: str = ""
    window: list[Number] = []
    labels: list[Number] = []
    is_labels: bool = False
    image: str = ""


class LeftOutEntry(_Entry):
    """The lossless array that a copy of the volume left out."""

    array: str = ""
    statistics: dict[str, Any] = {}


class VolumeState(_Entry):
    """The attribute `seismill` of the root."""

    format: int
    writer: str
    created_on: str
    stages: dict[str, StageEntry]
    levels: Annotated[list[LevelEntry], Field(max_length=limits.LEVELS)]
    sources: list[SourceEntry]
    index: dict[str, Any] = {}
    axes: list[AxisEntry] = []
    place: PlaceEntry = PlaceEntry()
    epsg: int = 0
    exceptions: int = 0
    unplaced: int = 0
    left_out: LeftOutEntry = LeftOutEntry()
    looks: LooksEntry = LooksEntry()
    annex: AnnexEntry = AnnexEntry()
    proven_at: str = ""
    proven_plan: str = ""
    compared_at: str = ""
    compared_plan: str = ""
    attributes: dict[str, Any] = {}
    mdio_v0: str = ""  # of a volume of multidimio 0.x, which is never stored so: its version


class _Variable(_Entry):
    defaultVariableName: _Path = ""  # MDIO's name


class _Attributes(_Entry):
    attributes: _Variable = _Variable()
    seismill: VolumeState | None = None


class _Grid(_Entry):
    class _Shape(_Entry):
        chunk_shape: _Extents

    configuration: _Shape


class _Member(_Entry):
    node_type: Literal["array", "group"]
    attributes: dict[str, Any] = {}
    shape: _Extents | None = None
    chunk_grid: _Grid | None = None
    codecs: list[dict[str, Any]] | None = None
    data_type: str | dict[str, Any] | None = None
    dimension_names: list[str | None] | None = None


class _Consolidated(_Entry):
    metadata: Annotated[dict[_Path, _Member], Field(max_length=limits.MEMBERS)]


class RootDocument(_Entry):
    """The schema of the whole document."""

    attributes: _Attributes
    consolidated_metadata: _Consolidated
