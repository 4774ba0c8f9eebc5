"""Pairs of crops with the places that both show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from napari_medssl.errors import SettingsError
from napari_medssl.pretext import voxel_pairs
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.pretext.voxel_pairs import VoxelPairs
from napari_medssl.transforms.tone import ToneRanges

CROP = (16, 24, 24)


def smooth_scan(shape: tuple[int, int, int] = (40, 48, 56), seed: int = 0) -> Scan:
    z, y, x = np.indices(shape) / 6.0
    image = 130 + 50 * np.sin(z + seed) + 40 * np.cos(y) * np.sin(x)
    return Scan(image.astype(np.uint8), None, (3.0, 2.0, 1.5), f"{seed}.nii", "group", f"subject {seed}")


def batch_of(task: VoxelPairs, scan: Scan, count: int = 2) -> Example:
    drawn: Example = default_collate([task.draw([scan], np.random.default_rng([0, n])) for n in range(count)])
    return drawn


def read_at(views: Tensor, points: Tensor) -> Tensor:
    read = F.grid_sample(views.flatten(0, 1), points.flatten(0, 1)[:, None, None], align_corners=False)
    return read[:, 0, 0, 0]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> VoxelPairs:
    """Views that differ in turn and scale alone, so that a place has the same intensity in both."""
    for name in ("_THICK", "_BLUR", "_NOISE", "_FIELD"):
        monkeypatch.setattr(voxel_pairs, name, 0.0)
    return VoxelPairs(CROP, pairs=2, points=40, tone=ToneRanges())


def test_a_point_lies_on_the_same_place_of_the_scan_in_both_views(plain: VoxelPairs) -> None:
    scan = smooth_scan()
    batch = plain.prepare(batch_of(plain, scan))
    voxels = (batch["places"].flatten(0, 2) / torch.tensor(scan.spacing_mm)).round().long()
    truth = torch.from_numpy(scan.image[tuple(voxels.T.numpy())] / 255).float()
    for i in (1, 2):
        assert batch[f"points{i}"].abs().max() < 1
        seen = read_at(batch[f"view{i}"], batch[f"points{i}"]).flatten()
        assert torch.corrcoef(torch.stack([seen, truth]))[0, 1] > 0.95


def test_views_of_a_place_look_different_and_stay_in_range() -> None:
    task = VoxelPairs(CROP, pairs=3, points=16)
    batch = task.prepare(batch_of(task, smooth_scan()))
    assert batch["view1"].shape == batch["view2"].shape == (2, 3, 1, *CROP)
    assert batch["places"].shape == (2, 3, 16, 3)
    assert 0 <= batch["view1"].min() <= batch["view1"].max() <= 1
    same = read_at(batch["view1"], batch["points1"]), read_at(batch["view2"], batch["points2"])
    assert (same[0] - same[1]).abs().mean() > 0.05


@pytest.mark.parametrize("shape", [(40, 48, 56), (5, 9, 60), (1, 1, 1)])
def test_any_scan_gives_points(shape: tuple[int, int, int]) -> None:
    task = VoxelPairs(CROP, points=8)
    batch = task.prepare(batch_of(task, smooth_scan(shape)))
    assert all(torch.isfinite(v).all() for v in batch.values())


def test_few_points_lie_in_air() -> None:
    scan = smooth_scan()
    image = scan.image.copy()
    image[:, :, :28] = 0
    half = Scan(image, None, scan.spacing_mm, "half.nii", "group", "half")
    task = VoxelPairs(CROP, points=40)
    air = []
    for n in range(12):
        places = task.draw([half], np.random.default_rng(n))["places"].numpy() / half.spacing_mm
        values = image[tuple(places.reshape(-1, 3).round().astype(int).T)]
        air.append((values == 0).mean())
    assert np.median(air) < 0.15


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least 1 pair and 2 points"):
        VoxelPairs(CROP, points=1)
    with pytest.raises(SettingsError, match="multiples of 8"):
        VoxelPairs((10, 24, 24))
