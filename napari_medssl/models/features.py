"""The features of a volume, slice by slice, with the mapping between voxels and feature cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SliceFrame:
    """How a slice (Y, X) was laid into the encoder's square input.

    The slice is resampled with one factor per axis, chosen so that pixels become square and the longer side fills
    `size`; the rest is padded equally on both sides.

    shape: (Y, X) of the volume's slices.
    inner: (h, w) the slice occupies in the square, in pixels.
    offset: (top, left) of that part.
    size: side of the square in pixels.
    """

    shape: tuple[int, int]
    inner: tuple[int, int]
    offset: tuple[int, int]
    size: int


@dataclass(frozen=True)
class FeatureStack:
    """Dense features of all slices of one volume.

    data: (Z, D, h, w) float16 or float32 on the CPU; h = w = frame.size / stride.
    frame: where the volume's pixels lie in the encoder's input.
    stride: encoder input pixels per cell.
    """

    data: torch.Tensor
    frame: SliceFrame
    stride: int

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.data.numel() * self.data.element_size()
