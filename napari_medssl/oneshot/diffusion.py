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
_FINE = 160  # slices at least this many pixels wide are halved in plane: four times faster, edges refined later


def diffuse_steps(
    query: Volume,
    anchors: Anchors,
    *,
    limits: tuple[float, float],
    slice_range: tuple[int, int] | None = None,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability of every organ by a random walker seeded with the labelled slices.

    On a labelled slice the organ's pixels are foreground seeds and all others background seeds. Voxels count as
    cubes: weaker links across thick slices measured worse.

    Returns organ to (Z, Y, X) float16 in [0, 1], 0 outside `slice_range`. Yields Progress per organ.
    """
    low, high = slice_range or (0, query.shape[0])
    factor = 2 if min(query.shape[1:]) >= _FINE else 1
    image = to_unit(query.data[low:high, ::factor, ::factor], limits)
    out = {}
    for i, (organ, slices) in enumerate(anchors.items()):
        yield Progress(i, len(anchors), "random walker")
        probability = np.zeros(query.shape, np.float16)
        seeds = _seeds(slices, image.shape, low, high, factor)
        if seeds is not None:
            solved = _solve(image, seeds)
            probability[low:high] = _enlarge(solved, query.shape[1:], factor)
        for z, mask in slices.items():
            probability[z] = mask
        out[organ] = probability
    return out


def _seeds(
    slices: Mapping[int, np.ndarray], shape: tuple[int, ...], low: int, high: int, factor: int
) -> np.ndarray | None:
    seeds = np.zeros(shape, np.uint8)
    for z, mask in slices.items():
        if low <= z < high:
            small = np.asarray(mask)[::factor, ::factor] > 0.5
            seeds[z - low] = np.where(small, 1, 2)
    return seeds if (seeds == 1).any() and (seeds == 0).any() else None


def _solve(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about seeds and the solver's choice; nothing the user could act on
        solved = random_walker(image, seeds, beta=BETA, mode="cg_j", return_full_prob=True)
    return np.asarray(solved[0], np.float32)


def _enlarge(solved: np.ndarray, shape_yx: tuple[int, ...], factor: int) -> np.ndarray:
    # Every factor-th pixel was kept, so pixel i of the volume lies at i / factor.
    scale = [1.0, 1 / factor, 1 / factor]
    shape = (len(solved), *shape_yx)
    return np.asarray(ndimage.affine_transform(solved, scale, output_shape=shape, order=1, mode="nearest"))
