"""Snap the edge to the image: a random walker in a narrow band around the current edge."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker

from napari_medssl.intensity import to_unit
from napari_medssl.oneshot.refine.step import RefineContext, refiners

BETA = 200.0  # stiffness of edges; Grady 2006 (doi 10.1109/TPAMI.2006.233), chosen on chaos_t2 and btcv_ct
BAND_MM = 4.0  # how far the edge may move


@refiners.register("random-walk")
def random_walk(probability: np.ndarray, context: RefineContext) -> np.ndarray:
    """Random walker (Grady 2006) slice by slice between the sure inside and the sure outside.

    Voxels farther than `BAND_MM` from the current edge are seeds. In the band the walker's solution is averaged
    with the incoming probability. Slices whose organ is thinner than the band keep their map, as do those without
    contrast there: the walker's weights are scaled by the image's standard deviation.
    """
    _, y_mm, x_mm = context.query.spacing_mm
    for z in np.flatnonzero((probability >= 0.5).any(axis=(1, 2))):
        mask = probability[z] >= 0.5
        inside = ndimage.distance_transform_edt(mask, sampling=(y_mm, x_mm)) > BAND_MM
        outside = ndimage.distance_transform_edt(~mask, sampling=(y_mm, x_mm))
        if not inside.any():
            continue
        window = ndimage.find_objects((outside <= 2 * BAND_MM).astype(np.int8))[0]
        seeds = np.zeros(mask.shape, np.int8)
        seeds[inside], seeds[outside > BAND_MM] = 1, 2
        if not (seeds[window] == 2).any() or not (seeds[window] == 0).any():
            continue
        image = to_unit(context.query.data[z][window], context.limits)
        if image.min() == image.max():
            continue
        with warnings.catch_warnings():
            # skimage warns that seeds cut off from others are left out: they are solved by the seeds around them
            warnings.simplefilter("ignore")
            solved = random_walker(image, seeds[window], beta=BETA, mode="cg_j", return_full_prob=True)[0]
        # The iterative solver stops a little above 1 or below 0.
        solved = np.clip(np.nan_to_num(solved.astype(np.float32)), 0, 1)
        probability[z][window] = 0.5 * probability[z][window] + 0.5 * solved
    return probability
