"""What a DICOM header says about each of its frames: where it lies, how to scale it, which series it belongs to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from napari_medssl.errors import FormatError

Vector = tuple[float, ...]

PARSER_ERRORS: tuple[type[Exception], ...] = (InvalidDicomError, BytesLengthException)

# Tags that tell apart frames at one place, in the order they are tried, with the words for people.
_TELLING = {
    "EchoTime": "echo time",
    "EffectiveEchoTime": "echo time",
    "EchoNumbers": "echo",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "TriggerTime": "trigger time",
    "NominalPercentageOfCardiacPhase": "cardiac phase",
    "DiffusionBValue": "b-value",
    "FlipAngle": "flip angle",
    "InversionTime": "inversion time",
    "ImageType": "image type",
    "FrameType": "image type",
    "AcquisitionNumber": "acquisition",
    "ContentTime": "content time",
    "StackID": "stack",
}


@dataclass(frozen=True)
class Frame:
    """One slice, in its own file or inside a multi-frame file.

    path, number: the file and the frame in it, from 0. position: centre of the first pixel in LPS mm. orientation:
    direction cosines of a row (to higher columns), then of a column, in LPS. spacing: mm between columns, between rows.
    thickness: mm between slices as the header says, 0 if it does not. stored: type of the numbers in the file.
    telling: values of the tags that tell volumes of one series apart.
    """

    path: Path
    number: int
    series: str
    series_number: int | None
    description: str
    modality: str
    sop: str
    instance: int
    rows: int
    columns: int
    position: Vector
    orientation: Vector
    spacing: Vector
    thickness: float
    slope: float
    intercept: float
    stored: np.dtype[Any]
    localizer: bool
    inverted: bool
    telling: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector across the slice, LPS."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height_mm(self) -> float:
        """Position along the normal."""
        return float(self.normal @ np.asarray(self.position))


def words_for(tag: str) -> str:
    """What people call a telling tag."""
    return _TELLING[tag]


def telling_tags() -> tuple[str, ...]:
    """Tags that tell apart the volumes of a series, the most likely first."""
    return tuple(_TELLING)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's warnings about values that break the standard: real archives are full of harmless ones."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom\b.*")
        yield


def read_header(path: Path) -> Dataset:
    """Everything before the pixels. Files without the preamble are read too."""
    return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def frames_of(path: Path, header: Dataset) -> tuple[Frame, ...]:
    """The frames of a file. Raises FormatError with the reason when it is no slice or stack of slices."""
    _refuse_other_objects(path, header)
    n = int(header.get("NumberOfFrames") or 1)
    if "PerFrameFunctionalGroupsSequence" in header or "SharedFunctionalGroupsSequence" in header:
        return _enhanced_frames(path, header, n)
    if n > 1 or "GridFrameOffsetVector" in header:
        return _offset_frames(path, header, n)
    return (_frame(path, header, 0, [header]),)


def _refuse_other_objects(path: Path, header: Dataset) -> None:
    if "DirectoryRecordSequence" in header:
        raise FormatError(f"{path.name} is a DICOMDIR, a list of other files; give the folder instead")
    modality = str(header.get("Modality") or "unknown kind")
    if not header.get("Rows") or not header.get("Columns"):
        raise FormatError(f"{path.name} ({modality}) holds no image")
    colour = str(header.get("PhotometricInterpretation", ""))
    if int(header.get("SamplesPerPixel") or 1) != 1 or colour == "PALETTE COLOR":
        raise FormatError(f"{path.name} ({modality}) is a colour image; only grey-valued CT, MR and the like are read")


def _enhanced_frames(path: Path, header: Dataset, n: int) -> tuple[Frame, ...]:
    """Frames of an enhanced multi-frame file: their own functional groups count first, then the shared ones."""
    shared = _groups(header.get("SharedFunctionalGroupsSequence"), 0)
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(per_frame) not in (0, n):
        raise FormatError(f"{path.name} has {n} frames but describes {len(per_frame)}; the file is damaged")
    frames = []
    for number in range(n):
        own = _groups(per_frame, number) if per_frame else []
        frames.append(_frame(path, header, number, [*own, *shared, header]))
    return tuple(frames)


def _groups(sequence: Any, number: int) -> list[Dataset]:
    """The macros inside a functional group, flattened: each is a sequence of one item."""
    if not sequence or number >= len(sequence):
        return []
    macros = []
    for element in sequence[number]:
        if element.VR == "SQ" and element.value:
            item = element.value[0]
            macros.append(item)
            # Diffusion b-values and the like sit one level deeper.
            macros += [e.value[0] for e in item if e.VR == "SQ" and e.value]
    return macros


def _offset_frames(path: Path, header: Dataset, n: int) -> tuple[Frame, ...]:
    """Frames of an RT dose grid: one position, and the offset of each frame along the normal."""
    offsets = header.get("GridFrameOffsetVector")
    if offsets is None:
        raise FormatError(
            f"{path.name} has {n} frames without positions in the patient (a film or a projection series)"
        )
    offsets = [float(v) for v in (offsets if isinstance(offsets, Iterable) else [offsets])]
    if len(offsets) != n:
        raise FormatError(f"{path.name} has {n} frames but {len(offsets)} frame positions; the file is damaged")
    first = _frame(path, header, 0, [header])
    # Offsets are relative when they start at 0; otherwise they are positions along the axis (PS3.3 C.8.8.3.2).
    start = np.asarray(first.position) - first.normal * (0.0 if offsets[0] == 0 else offsets[0])
    return tuple(
        _frame(path, header, i, [header], position=tuple(start + first.normal * offset))
        for i, offset in enumerate(offsets)
    )


def _first(places: list[Dataset], tag: str) -> Any:
    """Value of a tag in the first place that has one."""
    return next((p.get(tag) for p in places if p.get(tag) not in (None, "")), None)


def _numbers(places: list[Dataset], tag: str, n: int) -> Vector | None:
    value = _first(places, tag)
    if value is None:
        return None
    try:
        numbers = tuple(float(v) for v in (value if n > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None


def _number(places: list[Dataset], tag: str, default: float) -> float:
    found = _numbers(places, tag, 1)
    return found[0] if found else default


def _frame(path: Path, header: Dataset, number: int, places: list[Dataset], *, position: Vector | None = None) -> Frame:
    position = position or _numbers(places, "ImagePositionPatient", 3)
    orientation = _orientation(path, places)
    spacing = _numbers(places, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        missing = "position and orientation in the patient" if spacing else "pixel size"
        kind = str(header.get("Modality") or "unknown kind")
        raise FormatError(
            f"{path.name} ({kind}) does not say its {missing}, so it is no slice of a volume "
            "(a screenshot, a projection or a stripped file)"
        )
    if min(spacing) <= 0:
        raise FormatError(f"{path.name} claims pixels of {spacing[0]} x {spacing[1]} mm; they must be larger than 0")
    slope_tag = "DoseGridScaling" if "DoseGridScaling" in header else "RescaleSlope"
    return Frame(
        path=path,
        number=number,
        series=str(header.get("SeriesInstanceUID") or ""),
        series_number=_whole(header.get("SeriesNumber")),
        description=str(header.get("SeriesDescription") or header.get("ProtocolName") or "").strip(),
        modality=str(header.get("Modality") or ""),
        sop=str(header.get("SOPInstanceUID") or path),
        instance=_whole(header.get("InstanceNumber")) or 0,
        rows=int(header.Rows),
        columns=int(header.Columns),
        position=position,
        orientation=orientation,
        spacing=(spacing[1], spacing[0]),
        thickness=_number(places, "SpacingBetweenSlices", 0.0) or _number(places, "SliceThickness", 0.0),
        slope=_number(places, slope_tag, 1.0),
        intercept=_number(places, "RescaleIntercept", 0.0),
        stored=_stored_type(path, header),
        localizer="LOCALIZER" in str(header.get("ImageType") or "").upper(),
        inverted=str(header.get("PhotometricInterpretation")) == "MONOCHROME1",
        telling={tag: str(value) for tag in _TELLING if (value := _first(places, tag)) is not None},
    )


def _orientation(path: Path, places: list[Dataset]) -> Vector | None:
    """Row and column directions as exact unit vectors: some archives round them to two decimals."""
    found = _numbers(places, "ImageOrientationPatient", 6)
    if found is None:
        return None
    row, column = np.array(found[:3]), np.array(found[3:])
    if min(np.linalg.norm(row), np.linalg.norm(column)) < 0.5 or abs(row @ column) > 0.1:
        raise FormatError(
            f"{path.name} has the image orientation {found}, whose two directions are not at right angles"
        )
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    return (*(float(v) for v in row), *(float(v) for v in column / np.linalg.norm(column)))


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _stored_type(path: Path, header: Dataset) -> np.dtype[Any]:
    if "ModalityLUTSequence" in header:
        return np.dtype(np.int32)
    bits = int(header.get("BitsAllocated") or 0)
    if bits not in (1, 8, 16, 32, 64):
        raise FormatError(f"{path.name} stores {bits} bits per pixel; 8, 16 and 32 are supported")
    if bits == 64:
        return np.dtype(np.float64)
    if bits == 1:
        return np.dtype(np.uint8)
    return np.dtype(f"{'i' if int(header.get('PixelRepresentation') or 0) else 'u'}{bits // 8}")
