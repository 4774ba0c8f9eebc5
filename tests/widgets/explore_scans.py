"""Small scans with an organ, and an engine whose features are quickly made and told apart by eye."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import image_layer

SHAPE = (12, 32, 32)
ORGAN, SPINE = (slice(3, 7), slice(8, 16), slice(6, 14)), (slice(None), slice(19, 27), slice(13, 21))
STRIDE = (1, 2, 2)
N_STEPS = 4


def scan_volume(seed: int = 0, shift: int = 0, affine: np.ndarray | None = None) -> Volume:
    """A body with a bright organ and a brighter spine; `shift` moves both to the patient's left, in voxels."""
    rng = np.random.default_rng(seed)
    data = rng.normal(20, 2, SHAPE).astype(np.float32)
    data[:, 3:29, 3:29] += 60
    for place, brighter in ((ORGAN, 60), (SPINE, 120)):
        z, y, x = place
        data[z, y, slice(x.start + shift, x.stop + shift)] += brighter
    if affine is None:
        affine = np.array([[0, 0, -2.0, 30], [0, -2.0, 0, 30], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(data, affine)


def add_scan(viewer: ViewerModel, name: str, volume: Volume) -> Image:
    layer = viewer.add_layer(Layer.create(*image_layer(volume, name)))
    assert isinstance(layer, Image)
    return layer


def features_of(volume: Volume) -> FeatureGrid:
    """Smoothed intensities as bumps around some levels, and the edges: every cell covers STRIDE voxels."""
    smooth = ndimage.uniform_filter(np.nan_to_num(volume.data.astype(np.float32)), STRIDE)
    cells = smooth[tuple(slice(None, None, s) for s in STRIDE)]
    shades = [np.exp(-(((cells - level) / 25) ** 2)) for level in (20, 80, 140, 200)]
    edges = ndimage.gaussian_gradient_magnitude(cells, 1) / 50
    affine = volume.affine @ np.diag([*STRIDE, 1.0])
    encoder = {"name": "bumps", "weights_sha256": "abc123", "stages": [1]}
    return FeatureGrid(np.stack([*shades, edges]).astype(np.float32), affine, grid_source(volume), encoder)


class GridEngine:
    """Like the engine, for grids. before_step: called in the worker before each step, to hold it or to raise."""

    def __init__(self) -> None:
        self.calls: list[tuple[Volume, str, Any]] = []
        self.before_step: Callable[[int], None] = lambda step: None
        self.steps_done = 0
        self.closed = False
        self.thread: int | None = None

    def grid_steps(
        self, volume: Volume, *, weights: str = "default3d", settings: Any = None, out: Any = None
    ) -> Steps[FeatureGrid]:
        self.calls.append((volume, weights, settings))
        self.thread = threading.get_ident()
        for step in range(N_STEPS):
            self.before_step(step)
            self.steps_done += 1
            yield Progress(step, N_STEPS, "extracting")
        return features_of(volume)

    def segment_steps(self, *args: Any, **settings: Any) -> Steps[Any]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True
