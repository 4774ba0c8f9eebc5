"""Small encoders whose features can be computed by hand, and scans with a marker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_medssl.volume import Volume


class Means(nn.Module):
    """Stages of 1, 2 and 4 voxels per cell: means of the voxels, through a 1 x 1 x 1 convolution of two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.channels, self.stride, self.config = 1, 2, 4, {}
        self.point = nn.Conv3d(1, 2, 1)
        with torch.no_grad():
            self.point.weight.copy_(torch.tensor([1.0, -3.0]).reshape(2, 1, 1, 1, 1))
            self.point.bias.copy_(torch.tensor([0.0, 2.0]))

    def stages(self, volume):
        return [self.point(F.avg_pool3d(volume, s)) for s in (1, 2, 4)]

    def forward(self, volume):
        return self.stages(volume)[-1]


class SliceMeans(nn.Module):
    """Cells of 4 x 4 pixels of the middle one of three slices: their mean, and one minus it."""

    def __init__(self) -> None:
        super().__init__()
        self.in_slices, self.channels, self.stride, self.input_size, self.config = 3, 2, 4, 64, {}

    def forward(self, slices):
        mean = F.avg_pool2d(slices[:, 1:2], 4)
        return torch.cat([mean, 1 - mean], 1)


@pytest.fixture
def means() -> Means:
    return Means().eval()


@pytest.fixture
def slice_means() -> SliceMeans:
    return SliceMeans().eval()


def turned_affine(spacing, axes, flips, angle_deg=0.0):
    """Voxel axes along the patient's in some order and direction, then turned about an oblique axis."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, flip, mm) in enumerate(zip(axes, flips, spacing, strict=True)):
        affine[world, axis] = -mm if flip else mm
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-31.0, 12.5, 70.0)
    return affine


def scan_with_marker(shape, affine, at_voxel, *, sigma_mm=4.0):
    """A dark scan with one soft spot, and where it is in mm."""
    index = np.indices(shape).reshape(3, -1).T
    where = np.array(at_voxel) @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - where, axis=1)
    spot = np.exp(-(distance**2) / (2 * sigma_mm**2)).reshape(shape)
    return Volume((spot * 1000).astype(np.float32), affine, "MR"), where


def centre_of(grid, weights):
    """(3,) mm: the mean place of cells with these (Z, Y, X) weights."""
    flat = np.asarray(weights, np.float64).reshape(-1)
    return flat @ grid.centres_mm() / flat.sum()
