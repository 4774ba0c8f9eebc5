"""Voxels of labelled scans that a probe learns from or is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io import read
from napari_medssl.train.dataset import Case
from napari_medssl.train.store import subject_of
from napari_medssl.volume import Volume

_AIR = 0.08  # of the intensity window, as where training crops are cut
_MARGIN_MM = 20.0  # around the box of all organs: where everything else is drawn from


@dataclass(frozen=True, eq=False)
class VoxelSet:
    """Voxels of one scan.

    case: the scan. subject: the person. points_mm: (N, 3) RAS mm. classes: (N,) uint8 label values, 0 for everything
    else. weights: (N,) how many voxels of the scan each stands for.
    """

    case: Case
    subject: str
    points_mm: npt.NDArray[np.float64]
    classes: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float64]


def draw_voxels(case: Case, *, per_organ: int, others: int, seed: int) -> VoxelSet:
    """At most `per_organ` voxels of each label and `others` of everything else, in the middle of voxels.

    Everything else is the body (brighter than air) in the box of all labels and 20 mm around it: telling organs from
    the rest of the trunk, not from empty space. What is drawn depends on the seed and the scan's name alone.

    Raises FormatError when the label map does not fit or is empty.
    """
    assert case.labels is not None
    image, labels = read(case.image, series=case.series), read(case.labels, labels=True)
    if image.shape != labels.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its image has {image.shape}")
    if not labels.data.any():
        raise FormatError(f"{case.labels} labels nothing; this task needs organs")
    rng = np.random.default_rng([seed, *case.image.name.encode()])
    values = [int(v) for v in np.unique(labels.data) if v]
    found = [(v, np.flatnonzero(labels.data == v), per_organ) for v in values]
    found.append((0, _elsewhere(image, labels), others))
    index, classes, weights = [], [], []
    for value, voxels, count in found:
        drawn = rng.choice(voxels, min(count, len(voxels)), replace=False)
        index.append(drawn)
        classes.append(np.full(len(drawn), value, np.uint8))
        weights.append(np.full(len(drawn), len(voxels) / max(1, len(drawn))))
    zyx = np.stack(np.unravel_index(np.concatenate(index), image.shape), 1)
    points = zyx @ image.affine[:3, :3].T + image.affine[:3, 3]
    subject = case.person or subject_of(case.image.name)
    return VoxelSet(case, subject, points, np.concatenate(classes), np.concatenate(weights))


def classes_of(sets: Sequence[VoxelSet], *, least: int) -> tuple[int, ...]:
    """Label values of which two scans or more have `least` voxels; raises FormatError when there is none."""
    counts: dict[int, int] = {}
    for s in sets:
        values, numbers = np.unique(s.classes, return_counts=True)
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            if value and number >= least:
                counts[value] = counts.get(value, 0) + 1
    kept = tuple(sorted(v for v, n in counts.items() if n > 1))
    if not kept:
        raise FormatError("no organ is large enough in two scans or more; this task needs images/ and labels/")
    return kept


def _elsewhere(image: Volume, labels: Volume) -> npt.NDArray[np.intp]:
    box: list[Any] = []
    for axis, spacing in enumerate(image.spacing_mm):
        there = np.flatnonzero(labels.data.any(tuple(a for a in range(3) if a != axis)))
        margin = round(_MARGIN_MM / spacing)
        box.append(slice(max(0, int(there[0]) - margin), int(there[-1]) + margin + 1))
    region = np.zeros(image.shape, bool)
    inside = tuple(box)
    unit = to_unit(image.data[inside], window_limits(image))
    region[inside] = (unit > _AIR) & (labels.data[inside] == 0)
    return np.flatnonzero(region)
