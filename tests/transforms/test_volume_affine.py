"""Flips, turns and scales of volumes: exact where they can be, in proportion where not, drawn at the stated rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_medssl.transforms.blur import blur_volumes
from napari_medssl.transforms.strengths import STRENGTHS
from napari_medssl.transforms.volume_affine import VolumeAffineRange, apply_volume_affine, draw_volume_affine


@pytest.fixture
def volumes() -> torch.Tensor:
    return torch.rand(2, 1, 8, 12, 12, generator=torch.Generator().manual_seed(0))


def matrices(*rows: object) -> torch.Tensor:
    return torch.tensor(np.array(rows), dtype=torch.float32)


def test_the_identity_and_each_axis_of_a_flip_are_exact(volumes: torch.Tensor) -> None:
    flip_z, flip_yx = np.diag([-1, 1, 1]), np.diag([1, -1, -1])
    torch.testing.assert_close(apply_volume_affine(volumes, matrices(np.eye(3), np.eye(3))), volumes)
    out = apply_volume_affine(volumes, matrices(flip_z, flip_yx))
    torch.testing.assert_close(out[0], volumes[0].flip(1))
    torch.testing.assert_close(out[1], volumes[1].flip(2, 3))


def test_a_quarter_turn_is_a_turn_of_the_slices(volumes: torch.Tensor) -> None:
    limits = VolumeAffineRange(quarter_turn=1.0)
    drawn = [draw_volume_affine(np.random.default_rng(n), limits) for n in range(20)]
    found = set()
    for matrix in drawn:
        out = apply_volume_affine(volumes, matrices(matrix, matrix))
        turned = [torch.allclose(out, torch.rot90(volumes, k, (3, 4)), atol=1e-5) for k in range(4)]
        assert sum(turned) == 1
        found.add(turned.index(True))
    assert found == {1, 2, 3}


def test_a_turn_and_a_scale_place_voxels_as_scipy_does(volumes: torch.Tensor) -> None:
    limits = VolumeAffineRange(
        flip=0.5, rotation=1.0, rotation_deg=(20, 10, 5), scale=1.0, scale_low=0.8, scale_high=0.9
    )
    matrix = draw_volume_affine(np.random.default_rng(3), limits)
    smooth = blur_volumes(volumes, torch.tensor([1.5, 1.5]))
    centre = (np.array(smooth.shape[2:]) - 1) / 2
    expected = ndimage.affine_transform(smooth[0, 0].numpy(), matrix, centre - matrix @ centre, order=1, mode="reflect")
    out = apply_volume_affine(smooth, matrices(matrix, matrix))[0, 0]
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-4)


def test_the_inverse_matrix_undoes_a_turn_inside(volumes: torch.Tensor) -> None:
    matrix = draw_volume_affine(np.random.default_rng(1), VolumeAffineRange(rotation=1.0, rotation_deg=(30, 0, 0)))
    z, y, x = torch.meshgrid(*(torch.arange(n) / n for n in (8, 12, 12)), indexing="ij")
    plane = (z + 2 * y + 3 * x)[None, None]  # linear: nothing is lost in resampling
    back = apply_volume_affine(apply_volume_affine(plane, matrices(matrix)), matrices(np.linalg.inv(matrix)))
    torch.testing.assert_close(back[..., 4:8, 4:8], plane[..., 4:8, 4:8], atol=1e-4, rtol=0)


def test_labels_stay_labels(volumes: torch.Tensor) -> None:
    labels = (volumes * 4).floor()
    matrix = draw_volume_affine(np.random.default_rng(0), STRENGTHS["S6"])
    out = apply_volume_affine(labels, matrices(matrix, matrix), nearest=True)
    assert set(out.unique().tolist()) <= set(labels.unique().tolist())


def test_scaling_above_one_enlarges() -> None:
    dot = torch.zeros(1, 1, 9, 9, 9)
    dot[0, 0, 3:6, 3:6, 3:6] = 1
    matrix = draw_volume_affine(np.random.default_rng(0), VolumeAffineRange(scale=1.0, scale_low=1.5, scale_high=1.5))
    assert apply_volume_affine(dot, matrices(matrix)).sum() == pytest.approx(27 * 1.5**3, rel=0.15)


@pytest.mark.parametrize(
    ("name", "flips", "quarters", "turned"),
    [("none", 0, 0, 0), ("S1", 0.5, 0, 0), ("S2", 0, 0.5, 0), ("S3", 0.5, 0, 0.3), ("S4", 0, 0.5, 0.3)],
)
def test_strengths_happen_at_their_rates(name: str, flips: float, quarters: float, turned: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_volume_affine(rng, STRENGTHS[name]) for _ in range(600)])  # type: ignore[index]
    np.testing.assert_allclose(np.abs(np.linalg.det(drawn)), 1, atol=1e-5)
    assert (drawn[:, 0, 0] < 0).mean() == pytest.approx(flips, abs=0.07)
    free = np.abs(drawn[:, 1, 1] * drawn[:, 2, 1]) > 1e-4
    assert free.mean() == pytest.approx(turned, abs=0.07)
    assert (np.abs(np.linalg.det(drawn) - 1) < 1e-4).mean() == pytest.approx(1 - flips, abs=0.07)
    swapped = ~free & (np.abs(drawn[:, 1, 2]) > 0.5)
    assert swapped.mean() == pytest.approx(quarters * (1 - turned) * 2 / 3, abs=0.07)  # 90 and 270 of 90, 180, 270


def test_strengths_stay_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for name, most in (("S3", 10), ("S4", 20), ("S5", 30)):
        for _ in range(100):
            matrix = np.abs(draw_volume_affine(rng, STRENGTHS[name]))  # type: ignore[index]
            angle = np.rad2deg(np.arctan2(matrix[2, 1], matrix[1, 1]))
            assert min(angle, 90 - angle) <= most + 1e-3
            assert matrix[0, 0] == 1
    scales = [abs(np.linalg.det(draw_volume_affine(rng, STRENGTHS["S6"]))) ** (-1 / 3) for _ in range(300)]
    assert 0.8 <= min(scales) < 0.85
    assert 1.15 < max(scales) <= 1.2 + 1e-6
    assert np.mean(np.abs(np.array(scales) - 1) > 1e-6) == pytest.approx(0.4, abs=0.08)


def test_blur_is_scipys_and_zero_leaves_as_is(volumes: torch.Tensor) -> None:
    out = blur_volumes(volumes, torch.tensor([0.0, 0.8]))
    torch.testing.assert_close(out[0], volumes[0])
    expected = ndimage.gaussian_filter(volumes[1, 0].numpy(), 0.8, mode="nearest", radius=3)
    np.testing.assert_allclose(out[1, 0].numpy(), expected, atol=1e-5)


def test_channels_of_a_volume_share_its_parameters(volumes: torch.Tensor) -> None:
    two = volumes.expand(2, 3, 8, 12, 12).contiguous()
    sigmas = torch.tensor([0.4, 1.2])
    torch.testing.assert_close(blur_volumes(two, sigmas)[:, 1:2], blur_volumes(volumes, sigmas))
