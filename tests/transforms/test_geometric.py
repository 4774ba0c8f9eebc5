"""Affine, elastic and gamma: ranges, exact small cases, and images and masks that move together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_medssl.transforms.affine import Affine, AffineRange, draw_affine
from napari_medssl.transforms.elastic import ElasticRange, draw_elastic
from napari_medssl.transforms.gamma import apply_gamma, draw_gamma
from napari_medssl.transforms.geometric import Geometric, apply_geometric, draw_geometric

STILL = Affine(0.0, (0.0, 0.0), 0.0, 1.0)


def only(size: int = 9, **change: object) -> Geometric:
    return Geometric(Affine(**{**STILL.__dict__, **change}), np.zeros((2, size, size), np.float32))  # type: ignore[arg-type]


def blob(y: float, x: float, size: int = 65) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18.0)[None]


def centre_of(image: torch.Tensor) -> tuple[float, float]:
    weights = (image[0] / image.sum()).double()
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in weights.shape)
    return float((weights.sum(1) * rows).sum()), float((weights.sum(0) * columns).sum())


def test_no_change_is_the_identity() -> None:
    image = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(apply_geometric(image, only()), image, atol=1e-6)
    assert torch.equal(apply_geometric(image, only(), nearest=True), image)


def test_shift_is_in_pixels_and_fills_with_zero() -> None:
    image = torch.arange(1.0, 82.0).view(1, 9, 9)
    moved = apply_geometric(image, only(shift_px=(2.0, -1.0)))
    assert torch.allclose(moved[:, 2:, :-1], image[:, :-2, 1:], atol=1e-4)
    assert not moved[:, :2].any()
    assert moved[:, :, -1].abs().max() < 1e-4


def test_a_quarter_turn_is_exact() -> None:
    image = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0))
    turned = apply_geometric(image, only(rotation_deg=90.0))
    candidates = [torch.rot90(image, k, (1, 2)) for k in (1, 3)]
    assert min((turned - c).abs().max() for c in candidates) < 1e-5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"scale": 1.2}, (32 + 1.2 * 10, 32 + 1.2 * 5)),
        ({"shear_deg": 10.0}, (42.0, 37 + 10 * math.tan(math.radians(10)))),
        ({"shift_px": (3.0, -4.0), "scale": 0.9}, (32 + 9 + 3, 32 + 4.5 - 4)),
    ],
)
def test_a_point_goes_where_the_parameters_say(change: dict[str, object], expected: tuple[float, float]) -> None:
    moved = apply_geometric(blob(42, 37), only(65, **change))
    assert centre_of(moved) == pytest.approx(expected, abs=0.05)


def test_elastic_moves_a_point_by_its_displacement() -> None:
    field = np.zeros((2, 65, 65), np.float32)
    field[0] += 3.0  # every output pixel comes from 3 pixels below
    moved = apply_geometric(blob(32, 32), Geometric(STILL, field))
    assert centre_of(moved) == pytest.approx((29.0, 32.0), abs=1e-3)


def test_elastic_strength() -> None:
    field = draw_elastic(np.random.default_rng(0), (256, 256))
    inner = field[:, 20:-20, 20:-20]
    # Uniform noise has variance 1/3; a Gaussian of sigma 5 leaves 1 / (4 pi 25) of it; alpha is 10.
    assert inner.std() == pytest.approx(10 * math.sqrt(1 / 3 / (4 * math.pi * 25)), rel=0.1)
    assert draw_elastic(np.random.default_rng(0), (16, 16), ElasticRange(alpha=0.0)).any() == np.False_


def test_draws_stay_in_the_published_ranges_and_fill_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_affine(rng) for _ in range(500)]
    for values, low, high in (
        ([a.rotation_deg for a in drawn], -5, 5),
        ([a.shift_px[0] for a in drawn], -5, 5),
        ([a.shift_px[1] for a in drawn], -5, 5),
        ([a.shear_deg for a in drawn], -5, 5),
        ([a.scale for a in drawn], 0.9, 1.2),
        ([draw_gamma(rng) for _ in range(500)], 0.5, 1.5),
    ):
        span = high - low
        assert low <= min(values) < low + 0.05 * span
        assert high - 0.05 * span < max(values) <= high


def test_the_same_seed_gives_the_same_change() -> None:
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    a, b, c = (apply_geometric(image, draw_geometric(np.random.default_rng(s), (32, 32))) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_image_and_mask_move_together() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[0, 20:40, 25:45] = 1
    parameters = draw_geometric(np.random.default_rng(3), (64, 64), AffineRange(rotation_deg=20.0))
    hard = apply_geometric(mask, parameters, nearest=True)
    soft = apply_geometric(mask, parameters)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert ((soft > 0.5) == (hard > 0.5)).float().mean() > 0.99


def test_gamma() -> None:
    image = torch.tensor([0.0, 0.25, 1.0])
    assert torch.allclose(apply_gamma(image, 0.5), torch.tensor([0.0, 0.5, 1.0]))
    assert torch.isfinite(apply_gamma(torch.tensor([-1e-6, 1.0 + 1e-6]), 0.5)).all()
