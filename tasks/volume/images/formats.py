"""The formats of voxel files, one row each: names, first bytes, and the function that describes such a file.

The first bytes decide the format. A library for one format is imported when the first such file is read.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from tasks.parameters import Raw, StorageOptions
from tasks.volume.images.header import Slices
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.names import RAW_SUFFIXES
from tasks.volume.images.suffixes import SUFFIXES, suffix_of
from tasks.volume.outcomes import InputRefused, how_to_install
from tasks.volume.store.objects import Source

HEAD_BYTES = 520  # of a file, by which its format is told


@dataclass(frozen=True)
class OpenFile:
    """A file to be described.

    Attributes:
        file: File that was listed.
        source: The same file, open.
        options: Non-secret options of the store.
        raw: Layout of files without a header.
        image: Number of the image in a file of several, from 0; -1: the only one.
    """

    file: VoxelFile
    source: Source
    options: StorageOptions
    raw: Raw
    image: int = -1

    @property
    def part(self) -> str:
        """Path of the array in a file of several."""
        return self.file.part


@dataclass(frozen=True)
class Format:
    """A file format that can be read.

    Attributes:
        name: Name of the format for people; its suffixes are in `suffixes.SUFFIXES`.
        begins: Function that recognises a file by its first bytes and its URL in lower case.
        describe: Module of this package, and its function of an `OpenFile`.
        library: Library of the extra `imaging` that the function imports.
        of_parts: Whether a file holds arrays by name, as in scan.h5:/exchange/data.
    """

    name: str
    begins: Callable[[bytes, str], bool]
    describe: tuple[str, str]
    library: str = ""
    of_parts: bool = False


def _by(*magic: bytes) -> Callable[[bytes, str], bool]:
    return lambda head, url: head.startswith(magic)


def _is_dicom(head: bytes, url: str) -> bool:
    bare = (head[:2] in (b"\2\0", b"\x08\0") and head[2:4] != b"\0\0") or head[:4] == b"\2\0\0\0"
    return head[128:132] == b"DICM" or (bare and suffix_of(url) in SUFFIXES["DICOM"])


def _is_hdf5(head: bytes, url: str) -> bool:
    """Return whether it begins so, or behind a block of MATLAB's."""
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520])


def _is_nifti(head: bytes, url: str) -> bool:
    if head.startswith(b"\x1f\x8b"):
        return url.endswith(".nii.gz")
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


FORMATS = (
    # Before its mark at byte 128 a DICOM file may hold anything, such as the header of a TIFF.
    Format("DICOM", _is_dicom, ("dicom", "describe"), "pydicom"),
    Format("TIFF", _by(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ("tiff", "describe")),
    Format("PNG", _by(b"\x89PNG\r\n\x1a\n"), ("coded", "describe_png")),
    Format(
        "JPEG 2000",
        _by(b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
        ("coded", "describe_jpeg2000"),
    ),
    Format("JPEG", _by(b"\xff\xd8\xff"), ("bitmaps", "describe_jpeg")),
    Format(
        "BMP", lambda head, url: head[:2] == b"BM" and head[6:10] == bytes(4), ("bitmaps", "describe_bmp")
    ),
    Format("NIfTI", _is_nifti, ("nifti", "describe"), "nibabel"),
    Format("HDF5", _is_hdf5, ("hdf5", "describe"), "h5py", of_parts=True),
    Format(".npy", _by(b"\x93NUMPY"), ("raw_voxels", "describe_npy")),
    Format(
        ".npz",
        lambda head, url: head[:2] == b"PK" and url.endswith(".npz"),
        ("npz", "describe"),
        of_parts=True,
    ),
    Format("NRRD", _by(b"NRRD"), ("text_headed", "describe_nrrd")),
    Format("MetaImage", lambda head, url: url.endswith((".mhd", ".mha")), ("text_headed", "describe_meta")),
)
READ = ", ".join(row.name for row in FORMATS) + " and raw binary"

_OLE = "a compound file of OLE2 (Zeiss .txm or .txrm, Olympus .oib, Zeiss .zvi)"
ARCHIVES = (
    ("a ZIP archive", (b"PK\3\4",), ()),
    ("a gzip file", (b"\x1f\x8b",), (".gz",)),
    ("a bzip2 file", (b"BZh",), (".bz2",)),
    ("a Zstandard file", (b"\x28\xb5\x2f\xfd",), (".zst",)),
    ("a 7z archive", (b"7z\xbc\xaf\x27\x1c",), (".7z",)),
    ("a RAR archive", (b"Rar!",), (".rar",)),
    ("a tar archive", (), (".tar", ".tgz")),
)
# What a file is that is recognised but not read: first bytes, or suffixes.
NOT_READ: tuple[tuple[str, tuple[bytes, ...], tuple[str, ...]], ...] = (
    ("a Zeiss CZI file", (b"ZISRAWFILE",), (".czi",)),
    ("a Nikon ND2 file", (b"\xda\xce\xbe\n",), (".nd2",)),
    ("a Leica LIF file", (b"\x70\0\0\0",), (".lif",)),
    (_OLE, (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",), (".txm", ".txrm", ".oib", ".zvi")),
    ("an AmiraMesh file", (b"# AmiraMesh", b"# Avizo"), (".am",)),
    (
        "a VTK file",
        (b"# vtk DataFile", b"<VTKFile", b'<?xml version="1.0"?>\n<VTKFile'),
        (".vtk", ".vti", ".vtr"),
    ),
    ("an MRC file", (), (".mrc", ".rec", ".st")),
    ("a GIF file", (b"GIF87a", b"GIF89a"), (".gif",)),
    ("an OpenEXR file", (b"\x76\x2f\x31\x01",), (".exr",)),
    ("a FITS file", (b"SIMPLE  =",), (".fits", ".fit")),
    ("a netCDF-3 file", (b"CDF\1", b"CDF\2", b"CDF\5"), (".cdf",)),
    ("an HDF4 file", (b"\x0e\x03\x13\x01",), ()),
    ("a MATLAB 5 file", (b"MATLAB 5.0 MAT-file",), (".mat",)),
    ("a JPEG XL file", (b"\xff\x0a", b"\0\0\0\x0cJXL "), (".jxl",)),
    ("a JPEG XR file", (b"II\xbc",), (".jxr", ".wdp")),
    ("a WebP or AVI file", (b"RIFF",), (".webp", ".avi")),
    ("a Photoshop file", (b"8BPS",), (".psd", ".psb")),
    ("a PGM or PPM file", (b"P5\n", b"P6\n", b"P2\n"), (".pgm", ".ppm", ".pnm")),
    ("a PDF file", (b"%PDF",), (".pdf",)),
    *ARCHIVES,
    ("a header of Analyze 7.5", (b"\x5c\1\0\0", b"\0\0\1\x5c"), (".hdr",)),
    ("a NIfTI voxel file without its header", (), (".img",)),
    ("a SEG-Y file", (), (".sgy", ".segy")),
    ("a text", (b"<?xml",), (".xtekct", ".vgi", ".pcr", ".log", ".xml", ".json", ".csv", ".dat")),
)


def describe(file: VoxelFile, options: StorageOptions, raw: Raw, image: int = -1) -> tuple[VoxelFile, Slices]:
    """Return the file that holds the voxels, and its slices; the first bytes decide the format, not the name.

    Raises:
        InputRefused: The file cannot be read, or its library is not installed.
    """
    with closing(file.open(options)) as source:
        head = source.read(0, min(source.size, HEAD_BYTES))
        name = source.url.lower()
        opened = OpenFile(file, source, options, raw, image)
        for row in FORMATS:
            if row.begins(head, name):
                if file.part and not row.of_parts:
                    raise InputRefused(
                        f"{file.url} is a {row.name} file, which holds one image; leave out :{file.part}"
                    )
                if image > 0 and row.name != "TIFF":
                    raise InputRefused(
                        f"{file.url} is a {row.name} file, which holds one image; leave out --image {image}"
                    )
                return _described(row, opened)
        if suffix_of(name) in _KNOWN and suffix_of(name) not in _OF_ANY:
            raise InputRefused(
                f"{file.url} does not begin like a file of that name; it is damaged, or another kind of file"
            )
        # What is named like a packed raw file may be one, if a sidecar has its layout.
        packed_raw = name.endswith(".gz") and suffix_of(name[:-3]) in RAW_SUFFIXES
        if raw.dtype == "unknown" and not packed_raw and (what := _recognised(head, name)):
            raise InputRefused(
                f"{file.url} is {what}, which is not read; save it as one of {READ}, or give --dtype and "
                "--shape if it is "
                "raw binary"
            )
        from tasks.volume.images.raw_voxels import describe_raw

        return describe_raw(opened)


_KNOWN = frozenset().union(*SUFFIXES.values())
_OF_ANY = frozenset({".img", ".mat"})  # names that other kinds of files have as well


def _described(row: Format, opened: OpenFile) -> tuple[VoxelFile, Slices]:
    if row.library and find_spec(row.library) is None:
        raise InputRefused(
            f"{opened.file.url} is a {row.name} file, which is read with {row.library}; install it with "
            f"{how_to_install('imaging')}"
        )
    module, function = row.describe
    found: tuple[VoxelFile, Slices] = getattr(import_module(f"tasks.volume.images.{module}"), function)(
        opened
    )
    return found


def _recognised(head: bytes, name: str) -> str:
    """Return the format of a file by its first bytes or else by its name; empty if unknown."""
    if head[257:262] == b"ustar":
        return "a tar archive"
    for what, magic, _ in NOT_READ:
        if magic and len(max(magic, key=len)) > 1 and head.startswith(magic):
            return what
    return next((what for what, _, suffixes in NOT_READ if suffix_of(name) in suffixes), "")
