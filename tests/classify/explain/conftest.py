"""A network that knows one thing, whether something bright is there, and scans with a bright block at a known place."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.classify.explain import Shown, framed_slices
from napari_medssl.intensity import IntensitySettings
from napari_medssl.io import read
from napari_medssl.volume import Volume

CODES = ["RAS", "LPS", "PIR", "SRA", "ILP", "ASL"]
FULL = IntensitySettings(window="full")  # the block is too small for percentiles


def slices_of(volume: Volume, model: nn.Module, **options) -> Shown:
    """Slices of a marked scan with the block at white."""
    return framed_slices(volume, model, intensity=FULL, **options)


class BrightDetector(nn.Module):
    """Cells of `stride` pixels, lit where the middle slice is bright; scores (B, 2): nothing there, something bright.

    One average per cell, so that a cell stands for its own pixels exactly.
    """

    def __init__(self, *, stride: int = 4, in_slices: int = 3, dims: int = 2, side: int = 48) -> None:
        super().__init__()
        self.in_slices, self.input_size, self.stride = in_slices, side, stride
        kind, pool = (nn.Conv2d, nn.AvgPool2d) if dims == 2 else (nn.Conv3d, nn.AvgPool3d)
        channels = in_slices if dims == 2 else 1
        first = kind(channels, 2, 1)
        with torch.no_grad():
            first.weight.zero_()
            first.weight[0, channels // 2], first.weight[1, channels // 2] = 1.0, -1.0
            first.bias.copy_(torch.tensor([-0.6, 0.6]))
        self.cells = nn.Sequential(first, nn.ReLU(inplace=True), pool(stride))
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.cells(images).flatten(2).mean(2))


def marked_file(path, *, code="RAS", spacing=(1.5, 2.0, 4.0), oblique=False, at=(0.3, 0.65, 0.4), shape=(30, 26, 14)):
    """A NIfTI file with axes in the order of `code`, and the RAS mm of the middle of its bright block.

    spacing, shape: along the file's own axes. at: the block's place as a share of each.
    """
    rng = np.random.default_rng(3)
    data = rng.uniform(20, 60, shape).astype(np.float32)
    low = [max(1, round(a * n)) for a, n in zip(at, shape, strict=True)]
    block = tuple(slice(i, i + w) for i, w in zip(low, (4, 4, 2), strict=True))
    data[block] = 220
    turn = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(code)), shape)
    affine = np.linalg.inv(turn)
    affine[:3, :3] *= np.asarray(spacing)
    affine[:3, 3] = (-12.0, 7.0, 31.0)
    if oblique:
        a, b = np.deg2rad(17), np.deg2rad(-11)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    nib.save(nib.Nifti1Image(data, affine), path)
    middle = np.array([i + (w - 1) / 2 for i, w in zip(low, (4, 4, 2), strict=True)])
    return affine[:3, :3] @ middle + affine[:3, 3]


@pytest.fixture(scope="session")
def marked(tmp_path_factory):
    """(volume with a bright block, the block's middle in RAS mm), on the default grid."""
    path = tmp_path_factory.mktemp("marked") / "scan.nii.gz"
    place = marked_file(path)
    return read(path), place
