"""What users would pick instead, given the very same labelled slices: a random walker, a pixel classifier, a copy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.volume import Volume

Mask = npt.NDArray[np.bool_]
Slices = Mapping[int, Mask]

WALKER, FULL_WALKER, FOREST, COPY = "random-walker", "random-walker-full", "forest", "copy"
ALTERNATIVES: dict[str, str] = {
    WALKER: "scikit-image's random walker in 3D, at half resolution in plane where slices are 160 pixels wide",
    FULL_WALKER: "the same at full resolution",
    FOREST: "a random forest on intensities at several scales and the place in the slice, half resolution as above",
    COPY: "the nearest labelled slice's mask on every slice",
}
"""Name to what it is."""

_CROSSING = (FOREST,)  # what can go from one patient's scan to another's
_FINE = 160
_BETA = 500.0  # stiffness of the walker's edges for intensities in [0, 1]
_TREES = 100
_SCALES = (1, 2, 4)  # pixels
_CHUNK = 16  # slices classified at a time


def check_alternatives(names: Sequence[str], *, across: bool) -> None:
    """Raise SettingsError for a name that is none, or that cannot do the task."""
    for name in names:
        if name not in ALTERNATIVES:
            raise SettingsError(
                f"--against {name}: there is no such alternative; choose from {', '.join(ALTERNATIVES)}"
            )
        if across and name not in _CROSSING:
            raise SettingsError(f"--against {name} cannot go from one scan to another; choose {', '.join(_CROSSING)}")


def thinned(name: str, plane: tuple[int, int]) -> int:
    """Every how many pixels a side the alternative looks at in slices of this (Y, X) shape."""
    return 2 if name != FULL_WALKER and min(plane) >= _FINE else 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan as an alternative sees it; made once per scan and resolution.

    image: (Z, y, x) float32 in [0, 1] between the percentiles 0.5 and 99.5 of the whole scan, rows running to the front
    and columns to the right of the patient, so that the file's own order decides neither which pixels are looked at nor
    how a solver rounds. step: every how many pixels. flips: of Y and X. spacing_mm: of `image`.
    """

    image: npt.NDArray[np.float32]
    step: int
    flips: tuple[bool, bool]
    spacing_mm: tuple[float, float, float]

    def turned(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(..., Y, X) of the scan's grid on the grid of `image`."""
        rows, columns = (slice(None, None, -1 if flip else None) for flip in self.flips)
        return mask[..., rows, columns][..., :: self.step, :: self.step]

    def get_ready(self, name: str) -> None:
        """Make what an alternative needs once per scan, so that an organ's clock runs for the organ alone."""
        if name == FOREST:
            _ = self.features

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """(Z, y, x, 12): intensity; Gaussian, its gradient and difference of Gaussians at three scales; place."""
        return np.stack([_features(plane) for plane in self.image])


def prepare(scan: Volume, step: int) -> Prepared:
    """The scan at every `step`-th pixel."""
    data = np.asarray(scan.data, np.float32)
    low, high = np.percentile(data, [0.5, 99.5])
    directions = scan.affine[:3, 1:3]  # of Y and X in the patient: towards the front and the right is forwards
    flips = [bool(d[np.abs(d).argmax()] < 0) for d in directions.T]
    z_mm, y_mm, x_mm = scan.spacing_mm
    bare = Prepared(data, step, (flips[0], flips[1]), (z_mm, step * y_mm, step * x_mm))
    image = np.clip((bare.turned(data) - low) / max(float(high - low), 1e-6), 0, 1)
    return Prepared(np.ascontiguousarray(image, np.float32), step, bare.flips, bare.spacing_mm)


def segment_by(name: str, query: Prepared, slices: Slices, *, source: Prepared | None = None) -> Mask | None:
    """The organ's mask (Z, y, x) on the grid of `query`, by one alternative.

    slices: labelled slice to its bool (y, x) mask, on the grid of `source`, another patient's scan; of `query` itself
    when None. None comes back when too little of the organ is left at this resolution to be labelled at all.

    The random walker takes all pixels of a labelled slice as seeds, of the organ or of the background, and voxels as
    cubes; beta is 500, the solver conjugate gradients. The forest has 100 trees and learns from all pixels of the
    labelled slices. Labelled slices keep their labels.
    """
    if not any(mask.any() for mask in slices.values()):
        return None
    if name == FOREST:
        found = _forest(query, slices, source or query)
    elif name == COPY:
        nearest = [min(sorted(slices), key=lambda z: abs(z - row)) for row in range(len(query.image))]
        found = np.stack([slices[z] for z in nearest])
    else:
        found = _walk(query, slices)
    if source is None:
        for z, mask in slices.items():
            found[z] = mask
    return found


def _walk(query: Prepared, slices: Slices) -> Mask:
    from skimage.segmentation import random_walker

    seeds = np.zeros(query.image.shape, np.uint8)
    for z, mask in slices.items():
        seeds[z] = np.where(mask, 1, 2)
    if query.image.min() == query.image.max() or not (seeds == 2).any():  # nothing a walker could go by
        return np.asarray(seeds == 1, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the solver's choice
        walked = random_walker(query.image, seeds, beta=_BETA, mode="cg_j")
    return np.asarray(walked == 1, bool)


def _forest(query: Prepared, slices: Slices, source: Prepared) -> Mask:
    from sklearn.ensemble import RandomForestClassifier

    where = sorted(slices)
    count = source.features.shape[-1]
    known = np.concatenate([slices[z].ravel() for z in where])
    if known.all():
        return np.ones(query.image.shape, bool)
    forest = RandomForestClassifier(_TREES, n_jobs=torch.get_num_threads(), random_state=0)
    forest.fit(source.features[where].reshape(-1, count), known)
    found = np.zeros(query.image.shape, bool)
    for start in range(0, len(found), _CHUNK):
        part = query.features[start : start + _CHUNK]
        found[start : start + _CHUNK] = (forest.predict_proba(part.reshape(-1, count))[:, 1] > 0.5).reshape(
            part.shape[:3]
        )
    return found


def _features(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from skimage import filters

    gaussian: Any = filters.gaussian  # scikit-image has no type hints here
    sobel: Any = filters.sobel
    found = [plane]
    for scale in _SCALES:
        smooth = gaussian(plane, scale)
        found += [smooth, sobel(smooth), smooth - gaussian(plane, 2 * scale)]
    height, width = plane.shape
    rows, columns = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    return np.stack([*found, rows, columns], -1).astype(np.float32)
