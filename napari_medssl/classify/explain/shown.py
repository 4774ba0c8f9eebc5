"""What a network was shown of a scan, and the way back to the scan's own voxels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_medssl.classify.explain.place import FloatArray, cell_affine, map_onto_grid, slices_onto_grid
from napari_medssl.engine.checks import check_volume
from napari_medssl.engine.encode import input_size
from napari_medssl.errors import GeometryError
from napari_medssl.intensity import IntensitySettings, to_unit, window_limits
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

Between = Literal["empty", "linear"]
DEFAULT_WINDOW = IntensitySettings()


def _nothing(items: range) -> None:
    """Most networks need not know."""


@dataclass(frozen=True)
class Shown:
    """The inputs of a network, made from one scan.

    source: the scan. count: number of inputs. inputs: (n, C, ...) float32 of some of them, on the CPU.
    onto_grid: (A, *cells) maps to (Z, Y, X) float32 on the source's grid.
    slices: the slice each map belongs to; empty when a map covers the volume.
    bags: the inputs that are judged together as the slices of one examination, (1, S, C, y, x); several bags are
        several draws of slices. Empty when every input is judged by itself.
    within: the part of the network that is asked when no layer is named; empty for any.
    before: called with the inputs that the network is shown next, for networks that must know which slice they look at.

    Any network can be explained by making one of these: its input, and where the cells of that lie.
    """

    source: Volume
    count: int
    inputs: Callable[[range], Tensor]
    onto_grid: Callable[[Tensor, Between], Steps[FloatArray]]
    slices: tuple[int, ...] = ()
    bags: tuple[range, ...] = ()
    within: str = ""
    before: Callable[[range], None] = _nothing
    notes: tuple[str, ...] = ()


def framed_slices(
    volume: Volume, encoder: Any, *, slices: Sequence[int] | None = None,
    intensity: IntensitySettings = DEFAULT_WINDOW, size: int = 0,
) -> Shown:  # fmt: skip
    """Slices as the engine encodes them: framed to a square, windowed, with their neighbours as channels.

    encoder: read for `in_slices` and `input_size`. slices: which; all when None. size: side of the square; 0 takes the
    encoder's.

    Raises VolumeError for a scan that cannot be worked with, IndexError for a slice it does not have.
    """
    usable, notes = check_volume(volume)
    chosen = tuple(range(volume.shape[0])) if slices is None else tuple(int(z) for z in slices)
    outside = [z for z in chosen if not 0 <= z < volume.shape[0]]
    if outside or not chosen:
        raise IndexError(f"slices {outside or 'none'} asked for; the volume has slices 0 to {volume.shape[0] - 1}")
    y_mm, x_mm = volume.spacing_mm[1:]
    frame = make_frame(usable.shape[1:], (y_mm, x_mm), size or input_size(encoder))
    limits = window_limits(usable, intensity)

    def inputs(items: range) -> Tensor:
        return slice_batch(usable, [chosen[i] for i in items], frame, int(encoder.in_slices), limits=limits)

    def onto_grid(maps: Tensor, between: Between) -> Steps[FloatArray]:
        return slices_onto_grid(maps, chosen, frame, volume.shape[0], between=between)

    return Shown(volume, len(chosen), inputs, onto_grid, chosen, notes=notes)


def as_bag(shown: Shown) -> Shown:
    """The same slices, judged together by a network that takes (1, S, C, y, x)."""
    return dataclasses.replace(shown, bags=(range(shown.count),))


def given_slices(volume: Volume, inputs: Tensor, slices: Sequence[int]) -> Shown:
    """Slices that were prepared elsewhere by `into_frame`, such as those of a scan read for training.

    inputs: (S, C, side, side) float32, all framed alike. slices: the number in the volume of each.

    Raises GeometryError when there are not as many slices as inputs, or they are not square.
    """
    if inputs.ndim != 4 or len(inputs) != len(slices) or inputs.shape[2] != inputs.shape[3]:
        raise GeometryError(
            f"{len(slices)} slices with inputs of shape {tuple(inputs.shape)}; give one (C, side, side) for each"
        )
    y_mm, x_mm = volume.spacing_mm[1:]
    frame = make_frame(volume.shape[1:], (y_mm, x_mm), inputs.shape[-1])
    chosen = tuple(int(z) for z in slices)

    def onto_grid(maps: Tensor, between: Between) -> Steps[FloatArray]:
        return slices_onto_grid(maps, chosen, frame, volume.shape[0], between=between)

    return Shown(volume, len(chosen), lambda items: inputs[items.start : items.stop], onto_grid, chosen)


def resampled_box(
    volume: Volume, *, spacing_mm: float, multiple: int = 1, intensity: IntensitySettings = DEFAULT_WINDOW
) -> Shown:
    """The whole volume in cubic voxels, as 3D networks are trained on it: (1, 1, Z, Y, X).

    spacing_mm: side of a voxel. multiple: every side is filled with 0 at its end up to a multiple of this, which is the
    network's stride.

    Raises VolumeError for a scan that cannot be worked with.
    """
    usable, notes = check_volume(volume)
    shape = [max(1, round(n * s / spacing_mm)) for n, s in zip(volume.shape, volume.spacing_mm, strict=True)]
    full = [-(-n // multiple) * multiple for n in shape]

    def inputs(items: range) -> Tensor:
        return _resampled(usable, shape, full, window_limits(usable, intensity))

    def onto_grid(maps: Tensor, between: Between) -> Steps[FloatArray]:
        own = cell_affine(volume.affine, shape, volume.shape)
        return map_onto_grid(maps[0], cell_affine(own, maps.shape[1:], full), volume)

    return Shown(volume, 1, inputs, onto_grid, notes=notes)


def _resampled(volume: Volume, shape: list[int], full: list[int], limits: tuple[float, float]) -> Tensor:
    from skimage.transform import resize

    unit = to_unit(volume.data, limits)
    small = resize(unit, shape, order=1, anti_aliasing=True, preserve_range=True)  # type: ignore[no-untyped-call]
    box = np.zeros(full, np.float32)
    box[tuple(slice(0, n) for n in shape)] = small
    return torch.from_numpy(box)[None, None]
