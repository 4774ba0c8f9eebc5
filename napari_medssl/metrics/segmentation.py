"""How well a mask agrees with the truth: overlap, distance of surfaces in mm, surface that fits, volume."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.utils import get_mask_edges, get_surface_distance

from napari_medssl.metrics.measure import Measure

Mask = npt.NDArray[np.bool_]

TOLERANCE_MM = 3.0  # ours: two to three pixels of an abdominal scan, about what two readers of one organ differ by
_ROUNDING_MM = 1e-4  # distances are float32: one of exactly the tolerance counts as within it
_PERCENTILE = 95


class _Surface(NamedTuple):
    """What was found and what is true, in the box around both: where surface lies, and how much of it (or None)."""

    found: Mask
    truth: Mask
    found_area: npt.NDArray[Any] | None = None
    truth_area: npt.NDArray[Any] | None = None


def segmentation_scores(
    found: Mask,
    truth: Mask,
    *,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = TOLERANCE_MM,
    without: Collection[int] = (),
) -> dict[str, Measure]:
    """Every measure of one organ of one scan.

    found, truth: bool (Z, Y, X) on one grid. spacing_mm: of its voxels along z, y, x. without: slices that are not
    judged, such as those that were labelled by hand.

    Returns `dice`, `hd95_mm`, `surface_dice` and `volume_percent`; see `dice`, `surface_scores` and `volume_percent`.
    Raises ValueError when shapes differ or a spacing is not positive.
    """
    if found.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"masks of shapes {found.shape} and {truth.shape}; give two of one shape (Z, Y, X)")
    judged = [z for z in range(len(truth)) if z not in set(without)]
    surfaces = surface_scores(found, truth, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm, without=without)
    return {
        "dice": dice(found[judged], truth[judged]),
        **surfaces,
        "volume_percent": volume_percent(found[judged], truth[judged]),
    }


def dice(found: Mask, truth: Mask) -> Measure:
    """2 |found and truth| / (|found| + |truth|); bool arrays of one shape.

    0 when one of them is empty; None when both are: there is nothing to agree on, and 1 would reward organs that a scan
    does not show. Counted in whole numbers (MONAI's `compute_dice` gives the same in float32).
    """
    total = int(found.sum()) + int(truth.sum())
    if not total:
        return Measure(None, "the organ is neither there nor found")
    return Measure(2.0 * int((found & truth).sum()) / total)


def volume_percent(found: Mask, truth: Mask) -> Measure:
    """Signed volume error, 100 (|found| - |truth|) / |truth| in percent: below 0 where too little was found.

    -100 when nothing was found; None when the organ is not there.
    """
    true = int(truth.sum())
    if not true:
        return Measure(None, "the organ is not there, so its volume has no relative error")
    return Measure(100.0 * (int(found.sum()) - true) / true)


def surface_scores(
    found: Mask,
    truth: Mask,
    *,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = TOLERANCE_MM,
    without: Collection[int] = (),
) -> dict[str, Measure]:
    """`hd95_mm` and `surface_dice` of two bool (Z, Y, X) masks, all distances in mm.

    hd95_mm: for every voxel at a mask's edge the distance to the nearest edge voxel of the other mask; the 95th
        percentile of either direction, and of both the larger, as MONAI's `compute_hausdorff_distance`. (Some tools
        take one percentile of both directions together, which is smaller.) None when a mask is empty: no distance
        says how far nothing is away. Averages must count these cases, or finding nothing would look precise.
    surface_dice: share of both surfaces' area that lies within `tolerance_mm` of the other, as MONAI's
        `compute_surface_dice` with sub-voxel surfaces (Nikolov et al. 2021, doi 10.2196/26151). 0 when one mask is
        empty, None when both are.
    without: slices whose surface is not judged. It still is the nearest surface of what lies beside it, so that a
        slice that is left out does not cut the organ in two (ours; MONAI judges all). A surface element lies between
        two slices, and is left out when both are.

    Raises ValueError when a spacing or the tolerance is no positive number.
    """
    if not all(np.isfinite(n) and n > 0 for n in (*spacing_mm, tolerance_mm)):
        raise ValueError(f"spacing {spacing_mm} and tolerance {tolerance_mm} must be positive numbers of mm")
    here, there = bool(found.any()), bool(truth.any())
    if not here or not there:
        reason = _missing(here=here, there=there)
        share = Measure(None, reason) if here == there else Measure(0.0)
        return {"hd95_mm": Measure(None, reason), "surface_dice": share}
    box = _box(found | truth)
    skipped = np.isin(np.arange(box[0].start - 1, box[0].stop + 1), list(without))  # of the box with its margin
    masks = np.pad(found[box], 1), np.pad(truth[box], 1)
    return {
        "hd95_mm": _hd95(_edges(*masks), spacing_mm, skipped),
        "surface_dice": _surface_dice(_areas(*masks, spacing_mm), spacing_mm, tolerance_mm, skipped),
    }


def _missing(*, here: bool, there: bool) -> str:
    if here:
        return "the organ is not there, but something was found"
    return "the organ was not found" if there else "the organ is neither there nor found"


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    hits = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    z, y, x = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return z, y, x


def _edges(found: Mask, truth: Mask) -> _Surface:
    """Voxels of either mask that touch its outside."""
    edges = get_mask_edges(found, truth, crop=False)
    return _Surface(np.asarray(edges[0], bool), np.asarray(edges[1], bool))


def _areas(found: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> _Surface:
    """Elements between eight voxels each, one fewer along each axis, and their areas in mm²."""
    parts: Any = get_mask_edges(torch.from_numpy(found), torch.from_numpy(truth), crop=False, spacing=spacing_mm)
    found_edge, truth_edge, found_area, truth_area = (np.asarray(part) for part in parts)
    return _Surface(found_edge.astype(bool), truth_edge.astype(bool), found_area, truth_area)


def _hd95(surface: _Surface, spacing_mm: tuple[float, float, float], skipped: npt.NDArray[np.bool_]) -> Measure:
    judged = ~skipped[:, None, None]
    sides = ((surface.found & judged, surface.truth), (surface.truth & judged, surface.found))
    distances = [_distances(own, other, spacing_mm) for own, other in sides if own.any()]
    if not distances:
        return Measure(None, "neither mask goes beyond the slices that are left out")
    return Measure(max(float(np.percentile(d, _PERCENTILE)) for d in distances))


def _surface_dice(
    surface: _Surface, spacing_mm: tuple[float, float, float], tolerance_mm: float, skipped: npt.NDArray[np.bool_]
) -> Measure:
    judged = ~(skipped[:-1] & skipped[1:])[:, None, None]
    within, whole = 0.0, 0.0
    sides = (
        (surface.found & judged, surface.truth, surface.found_area),
        (surface.truth & judged, surface.found, surface.truth_area),
    )
    for own, other, area in sides:
        if own.any() and area is not None:
            areas = area[own].astype(np.float64)
            near = _distances(own, other, spacing_mm) <= tolerance_mm + _ROUNDING_MM
            within, whole = within + float(areas[near].sum()), whole + float(areas.sum())
    if not whole:
        return Measure(None, "neither mask goes beyond the slices that are left out")
    return Measure(within / whole)


def _distances(own: Mask, other: Mask, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """(N,) mm from each element of `own` to the nearest of `other`."""
    return np.asarray(get_surface_distance(own, other, spacing=list(spacing_mm)), np.float64)
