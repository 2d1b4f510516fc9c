"""Extract the description of voxels from the data set of a DICOM file."""

import math
from typing import Any

import numpy as np

from tasks.volume.images.header import InSeries, Voxels
from tasks.volume.images.series import distance_of
from tasks.volume.images.text_header import shown

_SAME = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}  # what all frames of a stack have in common, by functional group


class DicomHeader:
    """The description of voxels in a data set, as plain values."""

    def __init__(self, data: Any) -> None:
        self._data = data
        shared = _first(data.get("SharedFunctionalGroupsSequence"))
        frames = data.get("PerFrameFunctionalGroupsSequence") or []
        self._groups = [group for group in (shared, _first(frames)) if group is not None]
        self._frames = list(frames)
        self.rows, self.columns = _whole(data.get("Rows")), _whole(data.get("Columns"))
        self.frames = max(1, _whole(data.get("NumberOfFrames") or 1))
        self.samples = _whole(data.get("SamplesPerPixel") or 1)
        self.photometric = str(data.get("PhotometricInterpretation") or "")
        self.allocated = _whole(data.get("BitsAllocated") or 0)
        self.stored = _whole(data.get("BitsStored") or self.allocated)
        self.signed = _whole(data.get("PixelRepresentation") or 0) == 1
        self.sop_class = shown(str(getattr(data.get("SOPClassUID"), "name", "")))
        # pydicom converts a value when it is first looked at; nothing of it is looked at later.
        self.voxels, self.in_series, self.kept = self._voxels(), self._in_series(), self._kept()
        self.fault = self._fault()

    def _numbers(self, name: str, group: str) -> tuple[float, ...]:
        """Numbers of an element, of the data set or of a functional group."""
        held = [self._data, *(_first(entry.get(group)) for entry in self._groups)]
        for item in held:
            found = _numbers(item.get(name)) if item is not None else ()
            if found:
                return found
        return ()

    def _normal(self) -> np.ndarray | None:
        turned = self._numbers("ImageOrientationPatient", "PlaneOrientationSequence")
        if len(turned) != 6:
            return None
        normal = np.cross(turned[:3], turned[3:])
        return normal if abs(float(np.linalg.norm(normal)) - 1) < 0.01 else None

    def _in_series(self) -> InSeries:
        """Return the place of the slice in its scan."""
        place = _numbers(self._data.get("ImagePositionPatient"))
        normal = self._normal()
        position = math.nan
        if len(place) == 3 and normal is not None:
            position = float(np.dot(place, normal))
        elif location := _numbers(self._data.get("SliceLocation")):
            position = location[0]
        number = _numbers(self._data.get("InstanceNumber"))
        return InSeries(
            shown(str(self._data.get("SeriesInstanceUID") or "")),
            position,
            int(number[0]) if number else 0,
            self._numbers("ImageOrientationPatient", "PlaneOrientationSequence"),
        )

    def _voxels(self) -> Voxels:
        """Return lengths, and the origin where the slices are not turned."""
        spacing = self._numbers("PixelSpacing", "PixelMeasuresSequence")
        taken, notes = "DICOM's PixelSpacing", []
        if len(spacing) != 2:
            spacing = self._numbers("ImagerPixelSpacing", "PixelMeasuresSequence")
            taken = "DICOM's ImagerPixelSpacing (at the detector, not in the object)"
        if len(spacing) != 2 or min(spacing) <= 0:
            return Voxels()
        between = self._numbers("SpacingBetweenSlices", "PixelMeasuresSequence")
        thick = self._numbers("SliceThickness", "PixelMeasuresSequence")
        depth = next((abs(x[0]) for x in (between, thick) if x and x[0]), 0.0)
        along = self._along()
        step = distance_of(along) or 0.0
        depth = abs(step) or depth
        if not depth:
            depth = spacing[1]
            notes.append(no_distance(Voxels((0.0, *spacing))))
        place, normal = self._place(), self._normal()
        origin: tuple[float, ...] = ()
        turned = self._numbers("ImageOrientationPatient", "PlaneOrientationSequence")
        flat = normal is not None and np.allclose(turned, (1, 0, 0, 0, 1, 0), atol=1e-4)
        if place and flat and step >= 0:
            origin = place[::-1]
        elif place and flat:
            notes.append("the frames run downward; they stay in this order, and DICOM's origin was not taken")
        elif place:
            notes.append("the slices are turned against the patient's axes; DICOM's origin was not taken")
        return Voxels((depth, *spacing), "millimeter", origin, tuple(notes), taken)

    def _place(self) -> tuple[float, ...]:
        place = _numbers(self._data.get("ImagePositionPatient"))
        if not place and self._frames:
            place = _numbers(
                (_first(self._frames[0].get("PlanePositionSequence")) or {}).get("ImagePositionPatient")
            )
        return place if len(place) == 3 else ()

    def _along(self) -> list[float]:
        """Return the places of frames along their normal; empty if these do not say them."""
        offsets = _numbers(self._data.get("GridFrameOffsetVector"), 65536)  # of dose grids
        if len(offsets) == self.frames > 1:
            return list(offsets)
        places = [
            _numbers((_first(frame.get("PlanePositionSequence")) or {}).get("ImagePositionPatient"))
            for frame in self._frames
        ]
        normal = self._normal()
        if len(places) < 2 or normal is None or any(len(place) != 3 for place in places):
            return []
        return [float(np.dot(place, normal)) for place in places]

    def _fault(self) -> str:
        """Return why the frames are no stack; empty if they are one."""
        along = self._along()
        if along and distance_of(along) is None:
            return "do not follow each other at one distance"
        for group, names in _SAME.items():
            held = [_first(frame.get(group)) or {} for frame in self._frames]
            for name in names:
                if len({_numbers(item.get(name)) for item in held}) > 1:
                    return f"differ in their {name}"
        return ""

    def _kept(self) -> dict[str, Any]:
        """Return what turns stored values into what was measured, as attributes."""
        slope = self._numbers("RescaleSlope", "PixelValueTransformationSequence")
        inter = self._numbers("RescaleIntercept", "PixelValueTransformationSequence")
        if not slope or slope[0] == 0 or (slope[0], (inter or (0.0,))[0]) == (1, 0):
            return {}
        kind = str(self._data.get("RescaleType") or "")
        found = {"rescale_slope": slope[0], "rescale_intercept": (inter or (0.0,))[0]}
        return found | ({"rescale_type": kind} if kind and kind.isprintable() and len(kind) <= 64 else {})


def no_distance(voxels: Voxels) -> str:
    """Return the warning for a file that does not state the distance between slices."""
    return f"DICOM gives no distance of the slices; it was taken like x, {voxels.length[2]:g} millimeter"


def _first(sequence: Any) -> Any:
    try:
        return sequence[0] if sequence else None
    except (IndexError, KeyError, TypeError):
        return None


def _numbers(value: Any, most: int = 16) -> tuple[float, ...]:
    """Return the finite numbers of an element, which may be one or many; empty if it holds anything else."""
    try:
        values = [value] if isinstance(value, (int, float, str)) else list(value or [])
        found = tuple(float(x) for x in values[:most])
    except (TypeError, ValueError, OverflowError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def _whole(value: Any) -> int:
    found = _numbers(value)
    return int(found[0]) if found and found[0] == int(found[0]) else 0
