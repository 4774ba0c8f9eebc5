"""How high in the body a slice lies, learned without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.classify.slices.marks import FloatArray
from napari_medssl.classify.slices.template import BodyTemplate, learn_template

WIDTH_MM = 60.0  # of the bumps a height is told by; 25 and 40 mm: AUC 0.920 and 0.929 against 0.934 (CHAOS, two scans)
_WEIGHT = 0.6  # of the bumps beside the vector; flat between 0.3 and 1
_RIDGE = 1.0  # of rows of length about 1; flat between 0.3 and 3
_ALIKE = 0.5  # 0, 0.3, 1: AUC 0.937, 0.943, 0.945 (CHAOS, two scans), 0.962, 0.961, 0.959 (BTCV), CT to MR 0.67 to 0.71


@dataclass(frozen=True, eq=False)
class BodyHeight:
    """A height in mm for slices of any scan of the same body region.

    weight: (P,) of standardised vectors. centres: (K,) mm of the bumps that tell a height to a head. template: the body
    that scans are laid on.
    """

    weight: FloatArray
    centres: FloatArray
    template: BodyTemplate

    def of(self, points: FloatArray, position_mm: FloatArray, look: FloatArray) -> FloatArray:
        """(Z,) heights in mm.

        points: (Z, P) standardised vectors. look: (Z, E). Within a scan, distances are known from its grid, but for the
        size of the body; vectors and look only place it as a whole, so a slice that looks odd is not misplaced.
        """
        return self.template.place(look, first_guess(self.weight, points, position_mm))

    def bumps(self, height_mm: FloatArray) -> FloatArray:
        """(Z, K) closeness to each centre, in [0, 0.6]."""
        away = (height_mm[:, None] - self.centres) / WIDTH_MM
        return np.asarray(_WEIGHT * np.exp(-0.5 * away**2), np.float32)


def first_guess(weight: FloatArray, points: FloatArray, position_mm: FloatArray) -> FloatArray:
    """(Z,) heights of a scan whose grid is moved, as a whole, to the median of what its slices say by a line."""
    return np.asarray(position_mm + np.median(points @ weight - position_mm), np.float32)


def learn_height(
    points: Sequence[FloatArray], positions: Sequence[FloatArray], looks: Sequence[FloatArray]
) -> BodyHeight:
    """Height from scans without labels, at least one.

    points: (Z, P) of each scan. positions: (Z,) mm of its slices. looks: (Z, E) of them.

    A line gives a first guess, from which the scans are laid on a template of them all (`learn_template`).

    The line: neighbouring slices are as far apart in the body as on the grid, only where a scan begins is unknown. A
    linear height that fits this for all scans is ridge regression of position on vectors, both without their mean over
    the scan. The idea of a body coordinate from slice order is Yan et al. (2018), "Unsupervised body part regression
    via spatially self-ordering convolutional neural networks", https://arxiv.org/abs/1707.03891; ours is linear, in
    mm, and in closed form.

    Ours, too: middles of scans are held to lie at one height, with half the weight of the order of slices. Scans of one
    body region do about so, and without it any difference between scanners or modalities counts as height.
    """
    x = np.concatenate([p - p.mean(0) for p in points]).astype(np.float64)
    y = np.concatenate([p - p.mean() for p in positions]).astype(np.float64)
    means = np.stack([p.mean(0) for p in points for _ in p]).astype(np.float64)
    means -= means.mean(0)
    penalty = _RIDGE * np.eye(x.shape[1]) + _ALIKE * means.T @ means
    weight = np.linalg.solve(x.T @ x + penalty, x.T @ y).astype(np.float32)
    guesses = [first_guess(weight, p, z) for p, z in zip(points, positions, strict=True)]
    template, placed = learn_template(looks, guesses)
    heights = np.concatenate(placed)
    low, high = np.floor(heights.min() / WIDTH_MM) - 1, np.ceil(heights.max() / WIDTH_MM) + 1
    return BodyHeight(weight, np.arange(low, high + 1, dtype=np.float32) * np.float32(WIDTH_MM), template)
