"""Exams given as single scans: which belong together, and which plane each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medssl.classify.exams.planes import exam_name, plane_of, read_plane
from napari_medssl.errors import FormatError
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class GivenScan:
    """One scan of an exam."""

    exam: str
    plane: str
    path: Path
    volume: Volume


def open_given(texts: Sequence[str], planes: Sequence[str], *, exam: str = "") -> list[GivenScan]:
    """The scans named by `texts`, with exam and plane.

    texts: paths, each perhaps as PLANE=PATH. planes: those the classifier knows. exam: the exam all of them belong to;
    without it scans of the same file name do.

    A scan's plane is the one that is written before it; the only one there is; the name of its folder; or, for a file
    that says where its voxels lie, the direction of its slices.

    Raises FormatError when a plane cannot be told, is none the classifier knows, or an exam has it twice, and as
    `read_plane` for files that cannot be read.
    """
    found: list[GivenScan] = []
    for text in texts:
        written, path = _parted(text, planes)
        volume = read_plane(path)
        plane = written if written is not None else _plane(path, volume, planes)
        scan = GivenScan(exam or exam_name(path), plane, path, volume)
        twice = [s for s in found if (s.exam, s.plane) == (scan.exam, scan.plane)]
        if twice:
            where = f"two {plane} scans" if plane else "two scans"
            raise FormatError(
                f"the exam {scan.exam} has {where}, {twice[0].path} and {path}; give each exam by itself, or rename one"
            )
        found.append(scan)
    return found


def _parted(text: str, planes: Sequence[str]) -> tuple[str | None, Path]:
    name, equals, rest = text.partition("=")
    if equals and name in planes:
        return name, Path(rest)
    if equals and not Path(text).exists():
        raise FormatError(
            f"{text}: the classifier knows no plane {name!r}; it knows {', '.join(p for p in planes if p)}"
        )
    return None, Path(text)


def _plane(path: Path, volume: Volume, planes: Sequence[str]) -> str:
    if len(planes) == 1:
        return planes[0]
    if path.parent.name in planes:
        return path.parent.name
    if volume.native is not None and (told := plane_of(volume)) in planes:
        return told
    raise FormatError(f"which plane is {path}? Write it before the path, such as {planes[0]}={path.name}")
