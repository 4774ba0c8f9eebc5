"""Temperatures of a batch and of a run, and what the gradient sees of them."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.losses.pairs import cosines
from napari_medssl.losses.temperature import AlignmentTemperature, Attached, Constant, CosineSchedule, scaled
from napari_medssl.losses.temperature_profiles import CosineProfile


def test_constant_divides() -> None:
    c = torch.tensor([-1.0, 0.5], dtype=torch.float64)
    assert scaled(c, Constant(0.2)).tolist() == pytest.approx([-5.0, 2.5])


@pytest.mark.parametrize("value", [0.0, -0.1, float("inf"), float("nan")])
def test_constant_must_be_positive(value: float) -> None:
    with pytest.raises(SettingsError, match="above 0"):
        Constant(value)


def test_detached_gradient_is_one_over_tau() -> None:  # B6-05
    c = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    profile = CosineProfile(0.07, 0.5)
    scaled(c, profile).sum().backward()
    assert c.grad is not None
    torch.testing.assert_close(c.grad, 1 / profile(c.detach()))


def test_attached_gradient_has_the_derivative_of_tau() -> None:  # thesis 6.6: (tau - c tau') / tau^2
    c = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64, requires_grad=True)
    profile = CosineProfile(0.07, 0.5)
    scaled(c, Attached(profile)).sum().backward()
    assert c.grad is not None
    x = c.detach()
    tau, step = profile(x), 1e-6
    slope = (profile(x + step) - profile(x - step)) / (2 * step)
    torch.testing.assert_close(c.grad, (tau - x * slope) / tau**2, rtol=1e-6, atol=1e-6)
    assert Attached(profile).least == 0.07


def test_alignment_temperature_follows_the_positive_pairs() -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(4, 6), torch.randn(4, 6)
    c = cosines(z1, z2)
    aligned = sum(float(torch.cosine_similarity(a, b, dim=0)) for a, b in zip(z1, z2, strict=True)) / 4
    tau = AlignmentTemperature(0.1, 0.5, 0.2)(c)
    assert float(tau) == pytest.approx(0.1 * (1 + 0.5 * (aligned - 0.2)), rel=1e-6)
    assert float(AlignmentTemperature(0.1, 0.5)(cosines(z1, z1))) == pytest.approx(0.15)
    assert float(AlignmentTemperature(0.1, 0.5)(cosines(z1, -z1))) == pytest.approx(AlignmentTemperature().least)


@pytest.mark.parametrize(
    "values", [(0.0, 0.5, 0.0), (0.1, 1.5, 0.0), (0.1, -0.1, 0.0), (0.1, 0.5, 2.0), (0.1, 1.0, 0.0)]
)
def test_alignment_temperature_must_stay_positive(values: tuple[float, float, float]) -> None:
    with pytest.raises(SettingsError, match="alpha"):
        AlignmentTemperature(*values)


def test_schedule_swings_from_high_to_low() -> None:
    schedule = CosineSchedule(0.1, 1.0, periods=2)
    found = [schedule.at(share).value for share in (0, 0.125, 0.25, 0.5, 0.75)]
    assert found == pytest.approx([1.0, 0.55, 0.1, 1.0, 0.1])


def test_schedule_needs_a_range_and_a_period() -> None:
    with pytest.raises(SettingsError, match="lowest <= highest"):
        CosineSchedule(0.5, 0.1)
    with pytest.raises(SettingsError, match="periods"):
        CosineSchedule(0.1, 0.5, periods=0)
