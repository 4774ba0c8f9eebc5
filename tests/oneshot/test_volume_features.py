"""3D features on slices: where they lie, how they are joined, and that segmentation runs on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import make_frame
from napari_medssl.oneshot.cowpro import unit_centred
from napari_medssl.oneshot.segmenter import segment_volume
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.oneshot.volume_features import chosen_features, joined, onto_slices_steps
from napari_medssl.progress import Progress, finish
from napari_medssl.volume import Volume
from tests.oneshot.conftest import MadeModels


def oblique(shape=(6, 20, 30)) -> Volume:
    rng = np.random.default_rng(0)
    turn = np.deg2rad(25)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([5.0, 2.0, 1.5])
    affine[:3, 3] = (3.0, -40.0, 11.0)
    return Volume(rng.uniform(0, 100, shape).astype(np.float32), affine)


def place_grid(volume: Volume, cell_mm: float = 4.0) -> FeatureGrid:
    """Features that are the millimetres of their cell, on a grid of other axes that holds the whole scan."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.shape], indexing="ij")).reshape(3, -1).T
    world = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    low, high = world.min(0) - cell_mm, world.max(0) + cell_mm
    shape = np.ceil((high - low) / cell_mm).astype(int) + 1
    affine = np.diag([cell_mm] * 3 + [1.0])
    affine[:3, 3] = low
    index = np.indices(tuple(shape)).reshape(3, -1)
    data = (affine[:3, :3] @ index + low[:, None]).reshape(3, *shape).astype(np.float32)
    return FeatureGrid(data, affine)


def test_vectors_lie_where_their_cells_lie_in_the_patient():
    volume = oblique()
    grid = place_grid(volume)
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], 32)
    stack = finish(onto_slices_steps(grid, volume, frame, 4))
    assert stack.data.shape == (6, 3, 8, 8)
    mean = grid.data.reshape(3, -1).mean(1)
    top, left = frame.offset
    for z, i, j in ((0, 4, 3), (5, 3, 6), (2, 5, 1)):
        row = ((i + 0.5) * 4 - top) * volume.shape[1] / frame.inner[0] - 0.5
        column = ((j + 0.5) * 4 - left) * volume.shape[2] / frame.inner[1] - 0.5
        wanted = volume.affine[:3, :3] @ (z, row, column) + volume.affine[:3, 3] - mean
        np.testing.assert_allclose(stack.data[z, :, i, j].numpy(), wanted, atol=0.1)


def test_all_channels_at_once_are_what_the_grid_gives():
    volume, grid = oblique(), place_grid(oblique(), 7.0)
    rough = FeatureGrid(np.random.default_rng(2).normal(size=grid.data.shape).astype(np.float32), grid.affine)
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], 16)
    data = finish(onto_slices_steps(rough, volume, frame, 4)).data.float()
    columns = np.clip((np.arange(4) + 0.5) * 4 * 30 / frame.inner[1] - 0.5, 0, 29)
    row = np.clip((1.5 * 4 - frame.offset[0]) * 20 / frame.inner[0] - 0.5, 0, 19)
    index = np.stack([np.full(4, 3.0), np.full(4, row), columns], 1)
    wanted = rough.at(index @ volume.affine[:3, :3].T + volume.affine[:3, 3]) - rough.data.reshape(3, -1).mean(1)
    np.testing.assert_allclose(data[3, :, 1].T, wanted, atol=5e-3)


def test_cells_beside_the_slice_take_its_border():
    volume = oblique((3, 8, 32))
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], 32)
    assert frame.offset[0] > 0
    data = finish(onto_slices_steps(place_grid(volume), volume, frame, 4)).data
    first = frame.offset[0] // 4
    torch.testing.assert_close(data[:, :, 0], data[:, :, max(0, first - 1)])


def stack(seed: int, channels: int) -> FeatureStack:
    data = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return FeatureStack(data, make_frame((16, 16), (1.0, 1.0), 16), 4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_cosine_of_joined_vectors_is_the_mean_of_the_parts(share):
    first, second = stack(0, 5), stack(1, 9)
    both = joined(first, dataclasses.replace(second, data=40 * second.data + 3), share=share)
    assert both.data.shape == (2, 14, 4, 4)
    assert both.frame == first.frame

    def cosine(data):
        v = unit_centred(data.float().permute(0, 2, 3, 1).reshape(-1, data.shape[1]), eps=1e-6)
        return v @ v.T

    wanted = (1 - share) * cosine(first.data) + share * cosine(second.data)
    torch.testing.assert_close(cosine(both.data), wanted, atol=5e-3, rtol=0)


@dataclasses.dataclass
class WithGrids(MadeModels):
    """Also a 3D encoder made by hand: intensity, its square and its complement, in cells of one voxel."""

    asked: list[str] = dataclasses.field(default_factory=list)

    def grid_steps(self, volume, weights, *, spacing_mm):
        assert spacing_mm == 0
        self.asked.append(weights)
        yield Progress(0, 1, "extracting")
        bright = (volume.data / 255).astype(np.float32)
        data = np.stack([bright, bright**2, 1 - bright, np.sqrt(np.abs(bright))])
        return FeatureGrid(data, volume.affine, encoder={"name": "made", "weights_sha256": "abc"})


def patient(seed: int) -> tuple[Volume, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((10, 32, 32), np.uint8)
    mask[2:8, 8:20, 6:18] = 1
    data = (60 + 130 * mask + rng.normal(0, 4, mask.shape)).astype(np.float32)
    return Volume(data, np.diag([4.0, 2.0, 2.0, 1.0]) + 0.0), mask


@pytest.mark.parametrize("method", ["auto", "prototypes"])
@pytest.mark.parametrize("features", ["volume", "both"])
def test_organs_of_another_scan_are_found_by_them(features, method):
    models = WithGrids()
    (query, truth), (other, mask) = patient(0), patient(1)
    labelled = np.zeros_like(mask)
    labelled[[3, 5, 6]] = mask[[3, 5, 6]]
    settings = SegmentSettings(method=method, features=features, volume_weights="mine")
    steps = segment_volume(query, [Support(other, labelled)], models=models, slice_range=(2, 8), settings=settings)
    result = finish(steps)
    found = result.labels.data == 1
    told = {"kind": features, "volume_share": 0.2, "encoder": {"name": "made", "weights_sha256": "abc"}}
    assert result.report["features"] == told
    assert 2 * (found & (truth == 1)).sum() / (found.sum() + truth.sum()) > 0.8
    assert models.asked == ["mine", "mine"]
    assert len(models.encoded) == (2 if features == "both" else 0)


def test_slices_alone_never_ask_for_a_grid():
    models = WithGrids()
    assert chosen_features(models, SegmentSettings()) is models
    wrapped = chosen_features(models, SegmentSettings(features="both"))
    assert wrapped.weights_hash == models.weights_hash
    assert wrapped.propagator is models.propagator


def test_closing_closes_the_extraction():
    models = WithGrids()
    query, _ = patient(0)
    steps = chosen_features(models, SegmentSettings(features="volume")).features_steps(query)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
