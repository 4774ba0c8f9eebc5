"""Slices of a volume as encoder input, and encoder output back on the volume's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.intensity import to_unit
from napari_medssl.models.features import SliceFrame
from napari_medssl.volume import Volume


def make_frame(shape_yx: tuple[int, int], spacing_yx: tuple[float, float], size: int) -> SliceFrame:
    """The frame that lays slices of `shape_yx` pixels at `spacing_yx` mm into a `size` x `size` square.

    Pixels become square and the longer physical side fills the square.
    """
    extent = [n * s for n, s in zip(shape_yx, spacing_yx, strict=True)]
    longest = max(extent)
    inner = [max(1, round(size * e / longest)) for e in extent]
    return SliceFrame(shape_yx, (inner[0], inner[1]), ((size - inner[0]) // 2, (size - inner[1]) // 2), size)


def slice_batch(
    volume: Volume,
    indices: Sequence[int],
    frame: SliceFrame,
    context: int | Sequence[int],
    *,
    limits: tuple[float, float],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Encoder input for some slices.

    indices: slice numbers. context: number of input channels (odd): each slice with its neighbours; or where they lie
        from the slice, such as (-2, 0, 2). Beyond the ends the last slice is repeated.
    limits: intensities that become 0 and 1 (`intensity.window_limits`).

    Returns (B, channels, size, size) float32 in [0, 1] on `device`. Only the slices asked for are converted to float.
    """
    offsets = range(-(context // 2), context // 2 + 1) if isinstance(context, int) else context
    wanted = [[min(max(z + d, 0), volume.shape[0] - 1) for d in offsets] for z in indices]
    unique = sorted({z for row in wanted for z in row})
    unit = torch.from_numpy(to_unit(volume.data[unique], limits)).to(device)
    framed = into_frame(unit, frame)
    position = {z: i for i, z in enumerate(unique)}
    return framed[torch.tensor([[position[z] for z in row] for row in wanted], device=framed.device)]


def into_frame(slices: Tensor, frame: SliceFrame) -> Tensor:
    """(N, Y, X) float on the volume's grid to (N, size, size), anti-aliased when shrinking, padded with 0."""
    resized = _resize(slices, frame.inner)
    top, left = frame.offset
    bottom, right = frame.size - frame.inner[0] - top, frame.size - frame.inner[1] - left
    return F.pad(resized, (left, right, top, bottom))


def out_of_frame(maps: Tensor, frame: SliceFrame) -> Tensor:
    """(N, h, w) maps over the whole square, at any resolution, to (N, Y, X) on the volume's grid (bilinear)."""
    if maps.shape[-1] != frame.size:
        maps = _resize(maps, (frame.size, frame.size))
    top, left = frame.offset
    return _resize(maps[:, top : top + frame.inner[0], left : left + frame.inner[1]], frame.shape)


def mask_to_frame(mask: np.ndarray, frame: SliceFrame) -> Tensor:
    """Binary (N, Y, X) mask to (N, size, size) float32 coverage in [0, 1]."""
    return into_frame(torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32)), frame)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    shrinking = size[0] < maps.shape[-2] or size[1] < maps.shape[-1]
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False, antialias=shrinking)[:, 0]
