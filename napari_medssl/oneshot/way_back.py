"""Neighbours a mask has slid into are found by carrying its far parts back to the labelled slice, and taken out.

A walk that slides from the spleen into the kidney slides over a few slices, between two organs that look alike. Walked
the other way, from the middle of the kidney, the mask stays in the kidney and ends at its pole: it never arrives where
the user labelled the spleen. A part of the organ itself arrives. Cycle consistency, as in tracking and in Sli2Vol's
verification (Yeung et al. 2021, arXiv 2105.12722); what is compared and where parts are taken from is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.oneshot.propagation import Anchors
from napari_medssl.progress import Progress, Steps, reporting

Mask = npt.NDArray[np.bool_]
Carry = Callable[[Anchors, tuple[int, int]], Steps[dict[int, np.ndarray]]]
"""Masks on slices to (Z, Y, X) probabilities on the slices of a half-open range that they were carried to."""

_PARTS = (0.5, 0.85)  # where along a mask's slices on one side its parts are taken from
_FEWEST = 3  # slices on one side
_LEAST_PX = 20
# Of the edge of what came back, the share along which the rest of the mask goes on. A part of an organ that grows
# toward the label has the rest all around it (0.97 to 1 for tips of livers), a neighbour on one side (0.45 to 0.9).
_SURROUNDED = 0.93
# Masks whose labelled radius is less than this many slices, or mm, move by their own width from slice to slice: they
# lose their way back, too.
_WIDE, _LEAST_MM = 3.5, 12.0
# Mean probability by what was recognised from which a part is the organ: 0.96 and 0.98 in two that were it and did not
# find back, 0.5 to 0.7 in strangers (CHAOS).
_KNOWN = 0.9
_RIM_MM = 4.0  # half as thick are the rims that are taken out, too


@dataclass(frozen=True, eq=False)
class _Side:
    """What lies beyond one of the outermost labelled slices, `label`.

    home: the labelled slice it must find back to; another one where the mask on `label` is too narrow, as near an
    organ's end. slices: half-open, from home to the end of the scan. parts: slice to the mask on it.
    """

    label: int
    home: int
    slices: tuple[int, int]
    parts: Mapping[int, Mask]


def take_out_strangers_steps(
    maps: Mapping[int, np.ndarray],
    anchors: Anchors,
    carry: Carry,
    *,
    spacing_mm: tuple[float, float, float],
    share: float,
    threshold: float,
    recognised: Mapping[int, np.ndarray],
) -> Steps[None]:
    """Take out of each map, (Z, Y, X) float16 and in place, what does not find back to the organ's labelled slice.

    anchors: the labelled slices, which stay as they are. carry: how the maps were made. spacing_mm: (z, y, x). share: a
    part is a stranger when what comes back onto the labelled mask is less than this share of the smaller of the two,
    unless the rest of the mask surrounds it on its way. It goes with its way, as far as the next part that is none.
    threshold: what is taken out is left below it. recognised: of organs that were recognised, (Z, Y, X) probability by
    that; parts that it is sure of are not asked to find back, unless a slice nearer to them was labelled than the one
    they should find: that says where the organ ends, which what was recognised runs past as surely as it shows it.

    Looked at are parts beyond the outermost labelled slices, of organs that are wide on a labelled slice against the
    distance of slices.
    """
    for organ, found in maps.items():
        labelled = {z: np.asarray(m) > 0.5 for z, m in anchors[organ].items()}
        for side in _sides(found, labelled, spacing_mm):
            known = recognised.get(organ) if side.home == side.label else None
            asked = {z: {z: part} for z, part in side.parts.items() if known is None or not _is_known(known[z], part)}
            if not asked:
                continue
            ways = yield from reporting(
                carry(asked, side.slices), lambda p: Progress(p.done, p.total, "carrying the far parts back")
            )
            mask, sure = found >= 0.5, side.label
            for z in sorted(side.parts, key=lambda z: abs(z - side.home)):
                if z not in ways or not is_stranger(ways[z], z, side.home, mask, labelled[side.home], share):
                    sure = z
                    continue
                ways[z][min(sure, side.home) : max(sure, side.home) + 1] = 0  # what lies before a sure part is sure
                _take_out(found, ways[z], labelled, threshold, (spacing_mm[1] + spacing_mm[2]) / 2)


def is_stranger(way: np.ndarray, z: int, home: int, mask: Mask, labelled: Mask, share: float) -> bool:
    """Whether a part of a mask belongs to something else than what is labelled.

    way: (Z, Y, X) probability of what the part, slice `z` of `mask`, is carried to. labelled: (Y, X), on slice `home`.
    """
    if arrived(way[home], mask[z], labelled) >= share:
        return False
    step = 1 if home > z else -1
    edges = [_bordering(way[k] >= 0.5, mask[k]) for k in range(z + step, home, step)]
    known = [edge for edge in edges if edge is not None]
    return not known or float(np.mean(known)) < _SURROUNDED


def _is_known(recognised: np.ndarray, part: Mask) -> bool:
    return float(recognised[part].mean(dtype=np.float32)) >= _KNOWN


def arrived(way: np.ndarray, start: Mask, end: Mask) -> float:
    """How much of the smaller of two slices' masks lies over the end's mask after the way there; (Y, X) all.

    Of the smaller: of a large slice no more can arrive than there is.
    """
    return float(((way >= 0.5) & end).sum()) / max(1, min(int(start.sum()), int(end.sum())))


def _bordering(way: Mask, mask: Mask) -> float | None:
    """Share of the edge of what came back to a slice beside which the rest of the mask lies; None without a rest."""
    own, rest = way & mask, mask & ~way
    if min(own.sum(), rest.sum()) < _LEAST_PX:
        return None
    edge = own & ~ndimage.binary_erosion(own)
    return float((edge & ndimage.binary_dilation(rest)).sum() / edge.sum())


def _sides(found: np.ndarray, labelled: Mapping[int, Mask], spacing_mm: tuple[float, float, float]) -> list[_Side]:
    """The sides on which there is enough of a mask beyond the labelled slices to look at."""
    present = [z for z in range(len(found)) if (found[z] >= 0.5).any()]
    sides = []
    for direction in (1, -1):
        inward = sorted(labelled, reverse=direction > 0)
        label = inward[0]
        home = next((z for z in inward if _is_wide(labelled[z], spacing_mm)), None)
        beyond = sorted((z for z in present if (z - label) * direction > 0), key=lambda z: abs(z - label))
        if len(beyond) < _FEWEST or home is None:
            continue
        masks = {z: found[z] >= 0.5 for z in sorted({beyond[int(at * (len(beyond) - 1))] for at in _PARTS})}
        parts = {z: mask for z, mask in masks.items() if mask.sum() >= _LEAST_PX}
        if parts:
            sides.append(_Side(label, home, (home, len(found)) if direction > 0 else (0, home + 1), parts))
    return sides


def _is_wide(labelled: Mask, spacing_mm: tuple[float, float, float]) -> bool:
    z_mm, y_mm, x_mm = spacing_mm
    return float(np.sqrt(labelled.sum() * y_mm * x_mm / np.pi)) >= max(_WIDE * z_mm, _LEAST_MM)


def _take_out(
    found: np.ndarray, way: np.ndarray, labelled: Mapping[int, Mask], threshold: float, pixel_mm: float
) -> None:
    """Bring what the way claims, and what it leaves over of the stranger, below the threshold."""
    low = 0.99 * threshold
    for z in range(len(found)):
        stranger = way[z] >= min(0.5, threshold)
        if z not in labelled and stranger.any():
            left = _leftovers(found[z] >= min(0.5, threshold), stranger, pixel_mm)
            found[z][stranger] *= np.minimum(1 - way[z][stranger], np.float16(low))
            found[z][left] *= np.float16(low)


def _leftovers(mask: Mask, stranger: Mask, pixel_mm: float) -> Mask:
    """What a stranger leaves of a slice's mask: thin rims along it, and pieces beside it of less than its half.

    They do Dice little harm, but are what a user would have to clean up.
    """
    rest, rim = mask & ~stranger, max(1, round(_RIM_MM / pixel_mm))
    thick = ndimage.binary_dilation(ndimage.binary_opening(rest, iterations=rim))
    left = rest & ~thick & ndimage.binary_dilation(stranger, iterations=2 * rim)
    pieces, count = ndimage.label(rest & ~left)
    index = np.arange(1, count + 1)
    touching = ndimage.maximum(ndimage.binary_dilation(stranger, iterations=2), pieces, index)
    small = ndimage.sum_labels(pieces > 0, pieces, index) < 0.5 * (mask & stranger).sum()
    return np.asarray(left | np.isin(pieces, index[np.asarray(touching, bool) & small]))
