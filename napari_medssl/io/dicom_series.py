"""Which series are in a folder, and which one is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydicom.dataset import Dataset

from napari_medssl.errors import FormatError
from napari_medssl.io.damage import DAMAGE
from napari_medssl.io.dicom_frames import PARSER_ERRORS, Frame, frames_of, quiet_pydicom, read_header
from napari_medssl.io.dicom_stacks import Stack, split_series
from napari_medssl.io.formats import looks_like_dicom

SEGMENTATION = "SEG"
# Ten times the largest examinations (functional MR); a whole archive would take minutes to look through.
_MAX_FILES = 100_000


@dataclass(frozen=True)
class Series:
    """One series of a folder.

    uid, number, description, modality: as in the headers. stacks: its volumes; `index=` of `read` counts them.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    stacks: tuple[Stack, ...]

    @property
    def n_slices(self) -> int:
        """Slices of all its volumes together."""
        return sum(len(s.frames) for s in self.stacks)

    def __str__(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        volumes = f" in {len(self.stacks)} volumes" if len(self.stacks) > 1 else ""
        name = self.description or "(no description)"
        return f"series {number}, {name}, {self.modality}, {self.n_slices} slices{volumes}, UID {self.uid}"


@dataclass(frozen=True)
class Found:
    """What a file or folder holds: image series, segmentation files, and what was left out."""

    series: tuple[Series, ...]
    segmentations: tuple[Path, ...]
    notes: tuple[str, ...]
    reasons: tuple[str, ...]


def series_in(folder: Path) -> tuple[Series, ...]:
    """The image series below a folder (or in one file), by number; localizers only when there is nothing else.

    Raises FormatError when there is no readable slice.
    """
    found = find(folder)
    if not found.series:
        raise nothing_found(folder, found)
    return found.series


def find(place: Path) -> Found:
    """Look through a file or a folder and its subfolders. Files that are no DICOM are passed over."""
    files = _files(place) if place.is_dir() else [place]
    frames: list[Frame] = []
    segmentations: list[Path] = []
    reasons: list[str] = []
    for path in files:
        if place.is_dir() and not looks_like_dicom(path):
            continue
        with quiet_pydicom():
            _sort_in(path, frames, segmentations, reasons)
    scouts = [f for f in frames if f.localizer]
    if scouts and len(scouts) < len(frames) and place.is_dir():
        frames = [f for f in frames if not f.localizer]
        reasons.append(f"{len(scouts)} localizer images")
    notes = (f"left out: {_counted(reasons)}",) if reasons and frames else ()
    return Found(_series(frames), tuple(segmentations), notes, tuple(reasons))


def _files(folder: Path) -> list[Path]:
    files = sorted(islice((p for p in folder.rglob("*") if p.is_file()), _MAX_FILES + 1))
    if len(files) > _MAX_FILES:
        raise FormatError(f"{folder} has more than {_MAX_FILES} files below it; give the folder of one examination")
    return files


def _sort_in(path: Path, frames: list[Frame], segmentations: list[Path], reasons: list[str]) -> None:
    try:
        header: Dataset = read_header(path)
        if str(header.get("Modality")) == SEGMENTATION:
            segmentations.append(path)
            return
        frames.extend(frames_of(path, header))
    except FormatError as error:
        reasons.append(str(error))
    except (*DAMAGE, *PARSER_ERRORS) as error:  # one damaged file must not hide a whole folder
        reasons.append(f"{path.name} is damaged ({str(error)[:100]})")


def _series(frames: Sequence[Frame]) -> tuple[Series, ...]:
    by_uid: dict[str, list[Frame]] = {}
    for frame in frames:
        by_uid.setdefault(frame.series, []).append(frame)
    made = []
    for uid, members in by_uid.items():
        first = members[0]
        made.append(Series(uid, first.series_number, first.description, first.modality, split_series(members)))
    return tuple(sorted(made, key=lambda s: (s.number is None, s.number or 0, s.uid)))


def patient_of(series: Series) -> str:
    """The patient's ID as in the first slice's header; "" where it was removed."""
    with quiet_pydicom():
        return str(read_header(series.stacks[0].frames[0].path).get("PatientID", "") or "").strip()


def choose_series(place: Path, series: Sequence[Series], wanted: str | int | None) -> Series:
    """The series meant by `wanted`: a UID, a number, or an exact description; the only one when it is None.

    Raises FormatError, listing what is there, when none or several fit.
    """
    if wanted is None:
        fitting = list(series)
        problem = f"{place} holds {len(series)} series; choose one by its UID, number or description"
    else:
        fitting = [s for s in series if str(wanted) in (s.uid, str(s.number), s.description)]
        problem = f"{place} has {'no' if not fitting else 'more than one'} series {wanted!r}; choose one"
    if len(fitting) == 1:
        return fitting[0]
    raise FormatError(f"{problem}:\n" + "\n".join(f"  {s}" for s in series))


def nothing_found(place: Path, found: Found) -> FormatError:
    """The error for a place without a readable slice, with the reasons."""
    if place.is_file():
        return FormatError(f"cannot read {place}: {found.reasons[0] if found.reasons else 'it is no DICOM file'}")
    if not found.reasons:
        return FormatError(f"{place} holds no DICOM files; give a folder with a series, or a file")
    return FormatError(f"{place} holds no slices of a volume: {_counted(found.reasons)}")


def _counted(reasons: Sequence[str]) -> str:
    """The reasons, at most three, and how many more there are."""
    kinds = list(Counter(reasons))
    more = f"; and {len(kinds) - 3} more files" if len(kinds) > 3 else ""
    return "; ".join(kinds[:3]) + more
