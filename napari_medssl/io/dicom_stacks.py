"""From a heap of DICOM slices to volumes: what belongs together, in which order, with which affine."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from napari_medssl.errors import GeometryError
from napari_medssl.io.dicom_frames import Frame, telling_tags, words_for
from napari_medssl.volume import Affine

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Two slices closer than this are at one place. Positions are written with 2 to 6 decimals.
_SAME_PLACE_MM = 0.01
# Spacing may vary by this share of its median: below the first nothing is said, above the second the stack is refused.
_EVEN, _NEARLY_EVEN = 0.01, 0.10
# Sine of the angle between stacking direction and normal above which the grid is sheared (0.06 degrees).
_TILT = 1e-3


@dataclass(frozen=True)
class Stack:
    """Slices of one volume, sorted along their normal.

    label: what tells this volume from the others of its series ("echo time 2.3"), or "".
    notes: what was left out.
    """

    frames: tuple[Frame, ...]
    label: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.label or 'volume'}: {len(self.frames)} slices of {self.frames[0].columns} x {self.frames[0].rows}"
        )


def split_series(frames: Sequence[Frame]) -> tuple[Stack, ...]:
    """The volumes of one series, the largest plane or size first, echoes and time points in their order.

    Slices of different orientation, size or pixel spacing never share a volume. Slices at one place are told apart by
    echo, time point, b-value, image type and the like; when no tag does, by instance number. A slice stored twice
    counts once.
    """
    unique = {(f.sop, f.number): f for f in sorted(frames, key=lambda f: str(f.path), reverse=True)}
    dropped = len(frames) - len(unique)
    notes = (f"{dropped} slices were there twice; one copy of each was used",) if dropped else ()
    planes = sorted(_group(list(unique.values()), _plane_key).values(), key=len, reverse=True)
    stacks = []
    for number, plane in enumerate(planes):
        label = f"plane {number + 1}" if len(planes) > 1 else ""
        for part_label, part in _volumes(plane):
            ordered = tuple(sorted(part, key=lambda f: (f.height_mm, f.instance)))
            stacks.append(Stack(ordered, ", ".join(filter(None, (label, part_label))), notes))
    return tuple(stacks)


def _group(frames: Sequence[Frame], key: Callable[[Frame], Hashable]) -> dict[Hashable, list[Frame]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return groups


def _plane_key(frame: Frame) -> Hashable:
    # + 0.0 makes -0.0 and 0.0 one key.
    directions = tuple(round(v, 2) + 0.0 for v in frame.orientation)
    return directions, frame.rows, frame.columns, tuple(round(v, 3) for v in frame.spacing)


def _multiplicity(frames: Sequence[Frame]) -> np.ndarray:
    """How many frames lie at each place, places in ascending order."""
    heights = np.sort([f.height_mm for f in frames])
    starts = np.flatnonzero(np.r_[True, np.diff(heights) > _SAME_PLACE_MM])
    return np.diff(np.r_[starts, len(heights)])


def _volumes(frames: list[Frame]) -> list[tuple[str, list[Frame]]]:
    """Split slices of one plane so that no two of a part lie at one place."""
    counts = _multiplicity(frames)
    most = int(counts.max())
    if most == 1:
        return [("", frames)]
    varying = [t for t in telling_tags() if len({f.telling.get(t) for f in frames}) > 1]
    for tags in [*((t,) for t in varying), *combinations(varying, 2)]:
        parts = _group(frames, lambda f, tags=tags: tuple(f.telling.get(t, "") for t in tags))  # type: ignore[misc]  # default binds the loop variable
        if len(parts) == most and all(_multiplicity(p).max() == 1 for p in parts.values()):
            return [(_label(tags, key), parts[key]) for key in sorted(parts, key=_natural)]
    if (counts == most).all():
        ordered = sorted(frames, key=lambda f: (round(f.height_mm / _SAME_PLACE_MM), f.instance, f.number))
        return [(f"repetition {r + 1}", ordered[r::most]) for r in range(most)]
    return [("", frames)]


def _label(tags: tuple[str, ...], key: Hashable) -> str:
    return ", ".join(f"{words_for(t)} {v or '(none)'}" for t, v in zip(tags, key, strict=True))  # type: ignore[call-overload]  # the key is a tuple


def _natural(key: Hashable) -> list[tuple[float, str]]:
    """Numbers by value, texts by letters."""
    order = []
    for text in key:  # type: ignore[attr-defined]  # the key is a tuple of texts
        try:
            order.append((float(text), ""))
        except ValueError:
            order.append((float("inf"), text))
    return order


def stack_affine(stack: Stack) -> tuple[Affine, tuple[str, ...]]:
    """Affine of (column, row, slice) to RAS mm, and notes on what is not ideal.

    The third column is the mean step from slice to slice, so a tilted gantry gives a sheared affine. A single slice
    takes its thickness from the header (1 mm when it is not there).

    Raises GeometryError for slices at one place, missing slices, and spacing that varies by more than 10 %.
    """
    frames = stack.frames
    first, last = frames[0], frames[-1]
    places = np.array([f.position for f in frames])
    notes: list[str] = []
    if len(frames) == 1:
        if first.thickness <= 0:
            notes.append("a single slice without a stated thickness; 1 mm was assumed")
        step = first.normal * (first.thickness if first.thickness > 0 else 1.0)
    else:
        notes += _check_spacing(frames)
        step = (np.array(last.position) - np.array(first.position)) / (len(frames) - 1)
        notes += _check_sideways(places, step, first)
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[0]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return _LPS_TO_RAS @ affine, tuple(notes)


def _check_spacing(frames: Sequence[Frame]) -> list[str]:
    heights = np.array([f.height_mm for f in frames])
    gaps = np.diff(heights)
    if gaps.min() <= _SAME_PLACE_MM:
        at = int(gaps.argmin())
        raise GeometryError(
            f"two slices lie at one place ({heights[at]:.2f} mm: {_name(frames[at])} and {_name(frames[at + 1])}) and "
            "nothing tells them apart; move one series to a folder of its own"
        )
    median = float(np.median(gaps))
    spread = float(np.abs(gaps - median).max()) / median
    if spread <= _EVEN:
        return []
    if spread <= _NEARLY_EVEN:
        return [f"slice spacing varies from {gaps.min():.3g} to {gaps.max():.3g} mm; the mean was used"]
    whole = np.rint(gaps / median)
    if np.abs(gaps / median - whole).max() <= _NEARLY_EVEN and whole.min() >= 1:
        at = int(gaps.argmax())
        raise GeometryError(
            f"{int((whole - 1).sum())} slices are missing: the spacing is {median:.3g} mm, but there are "
            f"{gaps[at]:.3g} mm between {_name(frames[at])} and {_name(frames[at + 1])}; export the whole series again"
        )
    raise GeometryError(
        f"the slices are unevenly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm), so they are no regular volume; "
        "choose another series, or resample this one to even spacing first"
    )


def _check_sideways(places: np.ndarray, step: np.ndarray, first: Frame) -> list[str]:
    """Slices must lie on a line; one that leans away from the normal is a tilted gantry."""
    drift = places - (places[0] + np.arange(len(places))[:, None] * step)
    drift -= np.outer(drift @ first.normal, first.normal)
    worst = float(np.linalg.norm(drift, axis=1).max())
    if worst > 0.5 * min(first.spacing):
        raise GeometryError(
            f"the slices are shifted sideways against each other by up to {worst:.3g} mm without order; "
            "they are no regular volume. Choose another series"
        )
    sine = float(np.linalg.norm(np.cross(step, first.normal)) / np.linalg.norm(step))
    if sine <= _TILT:
        return []
    return [f"the slices are tilted by {np.degrees(np.arcsin(sine)):.1f} degrees (gantry tilt); the grid is sheared"]


def _name(frame: Frame) -> str:
    return frame.path.name if frame.number == 0 else f"frame {frame.number + 1} of {frame.path.name}"
