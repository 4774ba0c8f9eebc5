"""Which organs a slice shows, from the masks; and, without masks, where in the scan it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.data import spread
from napari_medssl.evaluate.examples import Examples
from napari_medssl.pretext.scan import Scan
from napari_medssl.samples.folder import ORGAN_NAMES

LEAST_MM2 = 25.0  # ours: a smaller area is the rim of an organ, on which annotators differ


def presence(scans: Sequence[Scan], *, slices_per_scan: int = 32, least_mm2: float = LEAST_MM2) -> Examples:
    """Slices with the organs on them, several at once.

    slices_per_scan: taken at even distances, so that long scans do not rule. least_mm2: area from which on an organ
        counts as present. Scans without a label map are left out; label values must mean the same in all of them. An
        organ that is present (or absent) in fewer than two people is left out: it cannot be learned from others.

    Raises FormatError when no organ is left.
    """
    known = [i for i, scan in enumerate(scans) if scan.labels is not None]
    slices = {i: spread(slices_per_scan, len(scans[i].image)) for i in known}
    areas = {i: _areas(scans[i], slices[i]) for i in known}
    rows = [(i, z) for i in known for z in range(len(slices[i]))]
    present = np.array([areas[i][z] >= least_mm2 for i, z in rows]).reshape(len(rows), 256)
    subjects = np.array([scans[i].subject for i, _ in rows])
    organs = [v for v in range(1, 256) if _both_sides(present[:, v], subjects)] if rows else []
    if not organs:
        raise FormatError(
            f"none of the {len(scans)} scans shows an organ that some slices have and others have not, in two people "
            "or more; organ presence needs images/ and labels/ of at least two, or choose the task position"
        )
    return Examples(
        "presence",
        "several",
        _names({scans[i].group for i in known}, organs),
        present[:, organs].astype(np.float32),
        subjects,
        np.zeros(len(rows), int),
        np.array([i for i, _ in rows], np.intp),
        tuple(slices[i][z : z + 1] for i, z in rows),
    )


def position(scans: Sequence[Scan], *, slices_per_scan: int = 32) -> Examples:
    """Slices with their place in the scan, from 0 (first) to 1 (last); for scans of one body part without labels.

    Source: the relative position of a slice in its stack, guide 001 (S101), there a pretext task.
    Raises FormatError when no scan has two slices.
    """
    rows = [
        (i, z) for i, scan in enumerate(scans) if len(scan.image) > 1 for z in spread(slices_per_scan, len(scan.image))
    ]
    if not rows:
        raise FormatError("no scan has two slices; the task position needs some")
    place = [[z / (len(scans[i].image) - 1)] for i, z in rows]
    return Examples(
        "position",
        "number",
        ("position",),
        np.array(place, np.float32),
        np.array([scans[i].subject for i, _ in rows]),
        np.zeros(len(rows), int),
        np.array([i for i, _ in rows], np.intp),
        tuple(np.array([z], np.intp) for _, z in rows),
    )


def _areas(scan: Scan, slices: np.ndarray) -> np.ndarray:
    """(slices, 256) mm2 of every label value."""
    assert scan.labels is not None  # only labelled scans are asked
    pixel = scan.spacing_mm[1] * scan.spacing_mm[2]
    return np.array([np.bincount(scan.labels[z].ravel(), minlength=256) * pixel for z in slices])


def _both_sides(present: np.ndarray, subjects: np.ndarray) -> bool:
    return all(len(np.unique(subjects[side])) >= 2 for side in (present, ~present))


def _names(groups: set[str], organs: list[int]) -> tuple[str, ...]:
    named = ORGAN_NAMES.get(groups.pop(), ()) if len(groups) == 1 else ()
    return tuple(named[v - 1] if v <= len(named) else str(v) for v in organs)
