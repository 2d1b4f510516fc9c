"""List the suffixes of each format, and split paths of arrays inside a file."""

import re

# By format, as in `formats.FORMATS`; the usual suffix is the first.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "TIFF": (".tif", ".tiff", ".btf", ".tf8", ".tf2", ".lsm"),
    "PNG": (".png",),
    "JPEG 2000": (".jp2", ".j2k", ".j2c", ".jpc"),
    "JPEG": (".jpg", ".jpeg", ".jpe"),
    "BMP": (".bmp", ".dib"),
    "DICOM": (".dcm", ".dicom", ".ima"),
    "NIfTI": (".nii", ".nii.gz"),
    "HDF5": (".h5", ".hdf5", ".hdf", ".nxs", ".he5", ".ims"),
    ".npy": (".npy",),
    ".npz": (".npz",),
    "NRRD": (".nrrd", ".nhdr"),
    "MetaImage": (".mha", ".mhd"),
}
FORMAT_OF = {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes}
_PART = re.compile(r"(?i)^(.*\.(?:h5|hdf5|hdf|nxs|he5|ims|mat|npz)):([^:]+)$")


def suffix_of(name: str) -> str:
    """Return the suffix of a name in lower case: `.nii.gz`, or the part from the last period on."""
    lower = name.rpartition("/")[2].lower()
    if lower.endswith(".nii.gz"):
        return ".nii.gz"
    return lower[lower.rfind(".") :] if "." in lower else ""


def without_part(url: str) -> tuple[str, str]:
    """Return the URL of a file and the path of the array in it, as in scan.h5:/exchange/data; mostly there is none.

    The path may begin without a slash.
    """
    match = _PART.match(url)
    return (match[1], f"/{match[2].strip('/')}") if match else (url, "")
