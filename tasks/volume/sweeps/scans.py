"""Find the scans under a staging prefix: folders of slices, files of 3-D images, and images that a sidecar describes.

The name of an image does not show whether it is a scan: folders of surveys contain figures, too. So an image is a
source if its folder has no SEG-Y and it is one of several slices or has a 3-D format, or if a sidecar describes it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.volume.images.names import RAW_SUFFIXES, is_image, is_picture
from tasks.volume.sweeps.keys import File, folder_of, is_candidate, suffix_of
from tasks.volume.sweeps.sidecar import Sidecar, sidecar_of


@dataclass(frozen=True)
class Scan:
    """Files that become one image volume.

    Attributes:
        name: Name below the staging prefix; of a folder of slices with a "/" at its end.
        files: The slices, or the file.
    """

    name: str
    files: tuple[File, ...]


def scans_in(
    files: Mapping[str, File],
    sidecars: Mapping[str, Sidecar | str],
    holds_a_volume: Callable[[File], bool],
) -> list[Scan]:
    """Return the scans among the files of a staging prefix.

    Args:
        files: Everything that was listed, by name.
        sidecars: Result of `read_sidecars`.
        holds_a_volume: Whether a file has several slices; called for the first of several files in a folder.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    surveys = set()
    for file in files.values():
        if file.name.startswith(".seismill/"):
            continue
        if is_candidate(file.name):
            surveys.add(folder_of(file.name))
        folders[folder_of(file.name)].append(file)
    scans: list[Scan] = []
    for folder, held in folders.items():
        described = [Scan(file.name, (file,)) for file in held if _is_described(file, held, sidecars)]
        images = [] if folder in surveys else [file for file in held if _is_slice(file)]
        apart = {scan.name for scan in described}
        scans += described + _of_folder(folder, [f for f in images if f.name not in apart], holds_a_volume)
    return scans


def _is_slice(file: File) -> bool:
    hidden = file.name.rpartition("/")[2].startswith(".")
    return not hidden and is_image(suffix_of(file.name))


def _of_folder(folder: str, images: Sequence[File], holds_a_volume: Callable[[File], bool]) -> list[Scan]:
    """Return the folder as one scan if its images are slices, else each image that is no picture."""
    if len(images) > 1 and folder and not holds_a_volume(images[0]):
        return [Scan(folder, tuple(images))]
    return [Scan(file.name, (file,)) for file in images if not is_picture(suffix_of(file.name))]


def _is_described(file: File, beside: Iterable[File], sidecars: Mapping[str, Sidecar | str]) -> bool:
    """Return whether a sidecar says that a file holds voxels, and of no other file of that name."""
    sidecar = sidecars.get(sidecar_of(file.name))
    if not isinstance(sidecar, Sidecar) or not sidecar.image or sidecar.files or is_candidate(file.name):
        return False
    suffix = suffix_of(file.name)
    if is_image(suffix):
        return True
    others = [o for o in beside if sidecar_of(o.name) == sidecar_of(file.name) and o.name != file.name]
    return suffix in RAW_SUFFIXES and not any(is_image(suffix_of(other.name)) for other in others)
