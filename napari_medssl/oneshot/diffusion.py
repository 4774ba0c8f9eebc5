"""Carrying masks through the volume without learned weights: one 3D random walker per organ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker

from napari_medssl.intensity import to_unit
from napari_medssl.oneshot.propagation import Anchors
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

BETA = 500.0  # stiffness of edges for intensities in [0, 1] (Grady 2006, doi 10.1109/TPAMI.2006.233)
_SUSPECTED = 0.1
_MARGIN = 12  # pixels around the suspected region
_FAR_MM = 8.0
_REGION_VOXELS = 100_000  # about 0.3 s on one core; four times as many measured no better
_FINE = 160  # slices at least this many pixels wide are halved in plane: four times faster, edges refined later
_CHUNK = 16  # slices enlarged at a time


def diffuse_steps(
    query: Volume,
    anchors: Anchors,
    *,
    limits: tuple[float, float],
    slice_range: tuple[int, int] | None = None,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability of every organ by a random walker seeded with the labelled slices.

    On a labelled slice the organ's pixels are foreground seeds and all others background seeds. Voxels count as
    cubes: weaker links across thick slices measured worse. An image without any contrast tells nothing: there only
    the labelled slices have a probability. Of labels outside `slice_range` the nearest on either side are seeds too.

    Returns organ to (Z, Y, X) float16 in [0, 1], 0 outside `slice_range`. Yields Progress per organ.
    """
    low, high = slice_range or (0, query.shape[0])
    factor = 2 if min(query.shape[1:]) >= _FINE else 1
    out = {}
    for i, (organ, slices) in enumerate(anchors.items()):
        yield Progress(i, len(anchors), "random walker")
        probability = np.zeros(query.shape, np.float16)
        first, stop = _reach(slices, low, high)
        image = _coarse(query.data[first:stop], factor, limits)
        solved = _solve(image, _seeds(slices, image.shape, first, stop, factor))
        if solved is not None:
            _enlarge(solved, factor, probability[first:stop])
        for z, mask in slices.items():
            probability[z] = mask
        probability[:low] = 0
        probability[high:] = 0
        out[organ] = probability
    return out


def _reach(slices: Mapping[int, np.ndarray], low: int, high: int) -> tuple[int, int]:
    """The range widened to the nearest labelled slices beyond its ends, which bound it like those inside."""
    below = [z for z in slices if z < low]
    above = [z for z in slices if z >= high]
    return max(below, default=low), min(above, default=high - 1) + 1


def diffuse_near(
    query: Volume, slices: Mapping[int, np.ndarray], carried: np.ndarray, *, limits: tuple[float, float]
) -> np.ndarray:
    """Foreground probability of one organ by a random walker in the region where a carried map suspects it.

    slices: labelled slice to its (Y, X) mask. carried: (Z, Y, X) probability from propagation.

    The walker works in the box around `carried` >= 0.1, coarse enough for `_REGION_VOXELS`, which makes thick-slice
    voxels nearly cubes; voxels farther than `_FAR_MM` from the suspected region are background seeds. So it costs a
    fraction of a second, and it tells where propagation has left the organ: it cannot follow a mask across an edge.
    On chaos_t2 it alone reached what the walker on the whole volume reaches, and the mean of both more than either.

    Returns (Z, Y, X) float16 in [0, 1], 0 outside the box. Where no walker can be sent (an image without contrast,
    nothing to tell organ and background apart), `carried` itself comes back: no opinion must not count as a no.
    """
    suspected = carried >= _SUSPECTED
    for z, mask in slices.items():
        suspected[z] |= np.asarray(mask) > 0.5
    if not suspected.any():
        return carried.astype(np.float16)
    box = _box(suspected, _MARGIN)
    factor = _coarseness(box)
    image = _coarse(query.data[box], factor, limits)
    seeds = np.zeros(image.shape, np.uint8)
    z_mm, y_mm, x_mm = query.spacing_mm
    sampling = (z_mm, y_mm * factor, x_mm * factor)
    seeds[ndimage.distance_transform_edt(~_shrink(suspected[box], factor), sampling=sampling) > _FAR_MM] = 2
    for z, mask in slices.items():
        seeds[z - box[0].start] = np.where(_shrink(np.asarray(mask)[box[1], box[2]] > 0.5, factor), 1, 2)
    solved = _solve(image, seeds)
    if solved is None:
        return carried.astype(np.float16)
    out = np.zeros(query.shape, np.float16)
    _enlarge(solved, factor, out[box])
    return out


def _box(region: np.ndarray, margin: int) -> tuple[slice, slice, slice]:
    """Bounding box of a non-empty region, a slice longer at both ends and `margin` pixels wider in plane."""
    out = []
    for axis, extra in enumerate((1, margin, margin)):
        hit = np.flatnonzero(region.any(tuple(a for a in range(3) if a != axis)))
        out.append(slice(max(0, int(hit[0]) - extra), min(region.shape[axis], int(hit[-1]) + 1 + extra)))
    return out[0], out[1], out[2]


def _coarseness(box: tuple[slice, slice, slice]) -> int:
    depth, height, width = (s.stop - s.start for s in box)
    factor = 1
    while depth * -(-height // factor) * -(-width // factor) > _REGION_VOXELS:
        factor += 1
    return factor


def _coarse(data: np.ndarray, factor: int, limits: tuple[float, float]) -> np.ndarray:
    """(Z, Y, X) data as means over blocks in [0, 1]; converted slice by slice."""
    return np.stack([_block_means(to_unit(plane, limits), factor) for plane in data])


def _block_means(data: np.ndarray, factor: int) -> np.ndarray:
    """(..., Y, X) float32 means over blocks of `factor` pixels a side, smaller ones at the far edges."""
    data = np.asarray(data, np.float32)
    if factor == 1:
        return data
    for axis in (-2, -1):
        starts = np.arange(0, data.shape[axis], factor)
        sizes = np.diff(starts, append=data.shape[axis]).astype(np.float32)
        total = np.add.reduceat(data, starts, axis=axis)
        data = total / (sizes[:, None] if axis == -2 else sizes)
    return data


def _shrink(mask: np.ndarray, factor: int) -> np.ndarray:
    """(..., Y, X) bool in blocks of `factor` pixels a side, true where at least half of the pixels are.

    Where a part is too thin to fill half of any block, a single pixel is enough: a thin organ must not vanish.
    """
    if factor == 1:
        return mask
    cover = np.stack([_block_means(plane, factor) for plane in mask.reshape(-1, *mask.shape[-2:])])
    full = cover >= 0.5
    near = ndimage.binary_dilation(full, np.ones((1, 3, 3), bool))
    return np.asarray((full | ((cover > 0) & ~near)).reshape(*mask.shape[:-2], *cover.shape[1:]))


def _seeds(slices: Mapping[int, np.ndarray], shape: tuple[int, ...], low: int, high: int, factor: int) -> np.ndarray:
    seeds = np.zeros(shape, np.uint8)
    for z, mask in slices.items():
        if low <= z < high:
            seeds[z - low] = np.where(_shrink(np.asarray(mask) > 0.5, factor), 1, 2)
    return seeds


def _solve(image: np.ndarray, seeds: np.ndarray) -> np.ndarray | None:
    """Probability of seed 1 in [0, 1], or None where a walker has nothing to go by.

    That is without contrast (its weights are scaled by the image's standard deviation), or without seeds of both
    kinds and something between them.
    """
    if image.min() == image.max() or not all((seeds == kind).any() for kind in (0, 1, 2)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about seeds and the solver's choice; nothing the user could act on
        solved = random_walker(image, seeds, beta=BETA, mode="cg_j", return_full_prob=True)[0]
    # The iterative solver stops a little above 1 or below 0.
    return np.clip(np.nan_to_num(np.asarray(solved, np.float32)), 0, 1)


def _enlarge(solved: np.ndarray, factor: int, out: np.ndarray) -> None:
    """Interpolate `solved` in plane and put it into `out`, a few slices at a time."""
    scale = [1.0, 1 / factor, 1 / factor]
    centre = (1 - factor) / 2 / factor  # of pixel 0, in blocks: block i covers the pixels from i * factor
    for start in range(0, len(out), _CHUNK):
        part = solved[start : start + _CHUNK]
        shape = (len(part), *out.shape[1:])
        out[start : start + _CHUNK] = ndimage.affine_transform(
            part, scale, (0.0, centre, centre), output_shape=shape, order=1, mode="nearest"
        )
