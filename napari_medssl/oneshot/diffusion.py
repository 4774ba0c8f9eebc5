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
_WALK_VOXELS = 1_000_000  # for the whole reach: about 0.5 GiB and 10 s on one core
_WIDER_MM = 40.0
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
    cubes: weaker links across thick slices measured worse. The walker works in a box around the labelled masks, wider
    on every side by their longer side, on blocks coarse enough for `_WALK_VOXELS`; beyond it the probability is 0. An
    image without any contrast tells nothing: there only the labelled slices have a probability. Of labels outside
    `slice_range` the nearest on either side are seeds too.

    Returns organ to (Z, Y, X) float16 in [0, 1], 0 outside `slice_range`. Yields Progress per organ.
    """
    low, high = slice_range or (0, query.shape[0])
    out = {}
    for i, (organ, slices) in enumerate(anchors.items()):
        yield Progress(i, len(anchors), "random walker")
        out[organ] = np.zeros(query.shape, np.float16)
        if any(np.asarray(mask).any() for mask in slices.values()):
            _walk(query, slices, _reach(slices, low, high), limits, out[organ])
        for z, mask in slices.items():
            out[organ][z] = mask
        out[organ][:low] = 0
        out[organ][high:] = 0
    return out


def _walk(
    query: Volume,
    slices: Mapping[int, np.ndarray],
    reach: tuple[int, int],
    limits: tuple[float, float],
    out: np.ndarray,
) -> None:
    """Solve in the box around the labelled organ and put the probability into `out`."""
    box = _wide_box(slices, query.spacing_mm, reach)
    image = query.data[box]
    factors = _coarsenesses(image.shape, query.spacing_mm, 2 if min(query.shape[1:]) >= _FINE else 1)
    rows = _rows(slices, reach, factors[0])
    seeds = np.zeros((len(rows), *(-(-n // factors[1]) for n in image.shape[1:])), np.uint8)
    for z, mask in slices.items():
        if reach[0] <= z < reach[1]:
            organ = _shrink(np.asarray(mask)[box[1:]] > 0.5, factors[1])
            seed = seeds[(z - reach[0]) // factors[0]]
            seed[...] = np.where(organ | (seed == 1), 1, 2)
    solved = _solve(_coarse(image[rows], factors[1], limits), seeds)
    if solved is not None:
        _enlarge(solved, factors, out[box])


def _wide_box(
    slices: Mapping[int, np.ndarray], spacing_mm: tuple[float, float, float], reach: tuple[int, int]
) -> tuple[slice, slice, slice]:
    """Box around the labelled masks, wider on every side by their longer side and at least `_WIDER_MM`."""
    masks = np.any([np.asarray(m) > 0.5 for m in slices.values()], axis=0)
    hits = [np.flatnonzero(masks.any(1 - axis)) for axis in (0, 1)]
    longer = max((h[-1] + 1 - h[0]) * mm for h, mm in zip(hits, spacing_mm[1:], strict=True))
    plane = []
    for axis, hit in enumerate(hits):
        extra = int(np.ceil(max(longer, _WIDER_MM) / spacing_mm[1 + axis]))
        plane.append(slice(max(0, int(hit[0]) - extra), min(masks.shape[axis], int(hit[-1]) + 1 + extra)))
    return slice(*reach), plane[0], plane[1]


def _coarsenesses(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], least: int) -> tuple[int, int]:
    """Slices and pixels per coarse voxel, the thinner side growing first until `_WALK_VOXELS` are not exceeded."""
    across, within = 1, least
    while -(-shape[0] // across) * -(-shape[1] // within) * -(-shape[2] // within) > _WALK_VOXELS:
        if within * spacing_mm[1] <= across * spacing_mm[0]:
            within += 1
        else:
            across += 1
    return across, within


def _rows(slices: Mapping[int, np.ndarray], reach: tuple[int, int], factor: int) -> list[int]:
    """Of every `factor` slices the one that speaks for them, from the start of the reach: a labelled or the middle."""
    depth = reach[1] - reach[0]
    rows = [min(start + factor // 2, depth - 1) for start in range(0, depth, factor)]
    for z in slices:
        if reach[0] <= z < reach[1]:
            rows[(z - reach[0]) // factor] = z - reach[0]
    return rows


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

    The walker works in the box around `carried` >= 0.1 on blocks that are nearly cubes, coarse enough for
    `_REGION_VOXELS`: of thin slices only some are looked at, always the labelled ones. With every slice but coarser in
    plane, the liver of two held-out CTs fell from 0.88 to 0.80. Voxels farther than `_FAR_MM` from the suspected
    region are background seeds. So it costs a fraction of a second, and it tells where propagation has left the
    organ: it cannot follow a mask across an edge.

    Returns (Z, Y, X) float16 in [0, 1], 0 outside the box. Where no walker can be sent (an image without contrast,
    nothing to tell organ and background apart), `carried` itself comes back: no opinion must not count as a no.
    """
    suspected = carried >= _SUSPECTED
    for z, mask in slices.items():
        suspected[z] |= np.asarray(mask) > 0.5
    if not suspected.any():
        return carried.astype(np.float16)
    box = _box(suspected, _MARGIN)
    step, factor = _coarseness(box, query.spacing_mm)
    levels = _levels(box[0], slices, step)
    image = _coarse(query.data[levels, box[1], box[2]], factor, limits)
    seeds = np.zeros(image.shape, np.uint8)
    z_mm, y_mm, x_mm = query.spacing_mm
    sampling = (z_mm * step, y_mm * factor, x_mm * factor)
    near = _shrink(suspected[levels, box[1], box[2]], factor)
    seeds[ndimage.distance_transform_edt(~near, sampling=sampling) > _FAR_MM] = 2
    for z, mask in slices.items():
        seeds[levels.index(z)] = np.where(_shrink(np.asarray(mask)[box[1], box[2]] > 0.5, factor), 1, 2)
    solved = _solve(image, seeds)
    if solved is None:
        return carried.astype(np.float16)
    out = np.zeros(query.shape, np.float16)
    _enlarge(_between(solved, levels, box[0]), (1, factor), out[box])
    return out


def _box(region: np.ndarray, margin: int) -> tuple[slice, slice, slice]:
    """Bounding box of a non-empty region, a slice longer at both ends and `margin` pixels wider in plane."""
    out = []
    for axis, extra in enumerate((1, margin, margin)):
        hit = np.flatnonzero(region.any(tuple(a for a in range(3) if a != axis)))
        out.append(slice(max(0, int(hit[0]) - extra), min(region.shape[axis], int(hit[-1]) + 1 + extra)))
    return out[0], out[1], out[2]


def _coarseness(box: tuple[slice, slice, slice], spacing_mm: tuple[float, float, float]) -> tuple[int, int]:
    """Slices per step and pixels per block side, nearly cubes in mm, for which the box has few enough blocks."""
    depth, height, width = (s.stop - s.start for s in box)
    z_mm, y_mm, x_mm = spacing_mm
    cube_mm = min(y_mm, x_mm)
    while True:
        step, factor = max(1, round(cube_mm / z_mm)), max(1, round(2 * cube_mm / (y_mm + x_mm)))
        if -(-depth // step) * -(-height // factor) * -(-width // factor) <= _REGION_VOXELS:
            return step, factor
        cube_mm *= 1.05


def _levels(extent: slice, slices: Mapping[int, np.ndarray], step: int) -> list[int]:
    """Every `step`-th slice of the extent, counted from a labelled one, and all labelled ones."""
    first = min(slices)
    regular = range(extent.start + (first - extent.start) % step, extent.stop, step)
    return sorted({*regular, *(z for z in slices if extent.start <= z < extent.stop)})


def _between(solved: np.ndarray, levels: list[int], extent: slice) -> np.ndarray:
    """Interpolate (N, h, w) maps on `levels` to every slice of the extent."""
    if len(levels) == extent.stop - extent.start:
        return solved
    at = np.interp(np.arange(extent.start, extent.stop), levels, np.arange(len(levels)))
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)[:, None, None]
    upper = solved[np.minimum(low + 1, len(levels) - 1)]
    return np.asarray((1 - part) * solved[low] + part * upper)


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


def _enlarge(solved: np.ndarray, factors: tuple[int, int], out: np.ndarray) -> None:
    """Interpolate `solved` and put it into `out`, a few slices at a time. factors: slices and pixels per voxel."""
    scale = [1 / factors[0], 1 / factors[1], 1 / factors[1]]
    # Of slice or pixel 0, in blocks: block i covers those from i * factor.
    across, within = ((1 - f) / 2 / f for f in factors)
    for start in range(0, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        offset = (start / factors[0] + across, within, within)
        part[...] = ndimage.affine_transform(solved, scale, offset, output_shape=part.shape, order=1, mode="nearest")
