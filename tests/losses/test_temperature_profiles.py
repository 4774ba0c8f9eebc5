"""Temperature profiles at their ends, minima and slopes (E-17 to E-21)."""

from __future__ import annotations

import math

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.losses.temperature import Attached, Temperature
from napari_medssl.losses.temperature_profiles import (
    CosineProfile,
    ExponentialProfile,
    LinearProfile,
    MovedMinimum,
    OdeProfile,
    ShiftedProfile,
    make_profile,
    profiles,
)

GRID = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
RANGES = [(0.07, 0.1), (0.07, 0.2), (0.1, 0.2), (0.07, 0.5)]


def at(profile: Temperature, c: float) -> float:
    return float(profile(torch.tensor(c, dtype=torch.float64)))


def slopes(profile: Temperature) -> torch.Tensor:
    c = GRID.clone().requires_grad_()
    (slope,) = torch.autograd.grad(profile(c).sum(), c)
    return slope


@pytest.mark.parametrize("name", list(profiles))
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_profile_reaches_its_range_and_stays_in_it(name: str, low: float, high: float) -> None:
    profile = make_profile(name, low, high, shift=-0.3)
    tau = profile(GRID)
    assert at(profile, 1.0) == pytest.approx(high)
    assert at(profile, -1.0) == pytest.approx(high)
    assert float(tau.min()) == pytest.approx(low, abs=1e-6)
    assert float(tau.max()) <= high + 1e-12
    assert profile.least == low
    outside = profile(torch.tensor([-1.000001, 1.000001], dtype=torch.float64))  # of rounding
    assert outside.tolist() == pytest.approx([high, high], rel=1e-4)
    assert torch.isfinite(slopes(profile)).all()
    torch.testing.assert_close(profile(GRID.float()).double(), tau, rtol=2e-4, atol=2e-5)


def test_vanilla() -> None:  # E-17, equation 6.16
    profile = CosineProfile(0.07, 0.2)
    assert [at(profile, c) for c in (-1, -0.5, 0, 0.5, 1)] == pytest.approx([0.2, 0.135, 0.07, 0.135, 0.2])


@pytest.mark.parametrize(("limits", "least"), list(zip(RANGES, [0.0614, 0.0329, 0.0715, -0.0527], strict=True)))
def test_sign_of_the_attached_gradient(limits: tuple[float, float], least: float) -> None:  # E-19
    profile = CosineProfile(*limits)
    reach = profile(GRID) - GRID * slopes(profile)
    assert float(reach.min()) == pytest.approx(least, abs=1e-4)


def test_monotone_logits() -> None:  # E-20
    def monotone(profile: Temperature) -> bool:
        return bool(((GRID / profile(GRID)).diff() > 0).all())

    assert monotone(LinearProfile(0.07, 0.2))
    assert not monotone(ExponentialProfile(0.07, 0.2))
    assert monotone(ExponentialProfile(0.1, 0.2))


def test_exponential_readings() -> None:  # B6-09
    assert at(make_profile("exponential", 0.1, 0.2), -0.5) == pytest.approx(0.1 * math.sqrt(2))
    normalised = at(make_profile("exponential-normalised", 0.1, 0.2), 0.5)
    assert normalised == pytest.approx(0.1 + 0.1 * (math.exp(0.5) - 1) / (math.e - 1))


@pytest.mark.parametrize(
    ("name", "shift", "minimum", "flat"),
    [("sm1a", 0.2, 0.4, 0.4), ("sm1b", 0.4, 0.3, 0.3), ("sm2a", -0.2, -0.4, 0.4), ("sm2b", -0.4, -0.3, 0.3)],
)
def test_algorithm_6_1(name: str, shift: float, minimum: float, flat: float) -> None:  # E-18
    profile = make_profile(name, 0.1, 0.2)
    assert profile == ShiftedProfile(0.1, 0.2, shift) == make_profile("shifted", 0.1, 0.2, shift=shift)
    tau = profile(GRID)
    assert float(GRID[tau.argmin()]) == pytest.approx(minimum, abs=1e-4)
    assert ShiftedProfile(0.1, 0.2, shift).minimum == pytest.approx(minimum)
    assert float((tau == 0.2).double().mean()) == pytest.approx(flat, abs=1e-3)
    for c in (-0.95, -0.3, 0.1, 0.35, 0.9):  # the algorithm's lines
        inside = (shift <= 0 and c <= -shift) or (shift >= 0 and c >= -shift)
        line = 0.1 + 0.05 * (1 + math.cos(math.pi / {0.2: 0.6, 0.4: 0.7}[abs(shift)] * (shift + c)))
        assert at(profile, c) == pytest.approx(line if inside else 0.2)


def test_shift_of_zero_is_the_left_half() -> None:  # B6-07
    profile = make_profile("sm3", 0.1, 0.2)
    assert at(profile, -0.5) == pytest.approx(0.1)
    assert (profile(GRID[GRID > 0]) == 0.2).all()
    assert ShiftedProfile(0.1, 0.2, 0.0).minimum == -0.5


@pytest.mark.parametrize("place", [-0.4, -0.2, 0.0, 0.3])
def test_moved_minimum_is_where_it_says(place: float) -> None:
    tau = MovedMinimum(0.1, 0.2, place)(GRID)
    assert float(GRID[tau.argmin()]) == pytest.approx(place, abs=1e-4)
    assert (tau.diff()[GRID[:-1] < place - 1e-4] < 0).all()
    assert (tau.diff()[GRID[:-1] > place + 1e-4] > 0).all()


def test_moved_minimum_at_zero_is_the_vanilla_profile() -> None:
    torch.testing.assert_close(MovedMinimum(0.07, 0.2, 0.0)(GRID), CosineProfile(0.07, 0.2)(GRID))


def test_ode_constants() -> None:  # E-21, B6-03: the printed constant on the right misses the end
    k, high = 0.5 * 3, 0.5
    assert 1 / math.log(k - (-k - math.exp(1 / high))) == pytest.approx(0.427, abs=5e-4)
    assert 1 / math.log(k - (k - math.exp(1 / high))) == pytest.approx(0.5)
    assert at(OdeProfile(0.05, high, k), 1.0) == pytest.approx(0.5)
    assert at(OdeProfile(0.05, high, k), -1.0) == pytest.approx(0.5)


def test_ode_profile_is_equation_6_14_where_it_may() -> None:
    k, high = 0.5, 0.5
    profile = OdeProfile(0.01, high, k)
    for c in (-0.9, -0.3, -0.1, 0.1, 0.4, 0.8):
        constant = -k - math.exp(-1 / high) if c < 0 else k - math.exp(1 / high)
        assert at(profile, c) == pytest.approx(min(c / math.log(k * c - constant), high))


def test_ode_profile_solves_equation_6_13() -> None:
    k, high = 0.5, 0.5
    profile = OdeProfile(1e-3, high, k)
    tau, slope = profile(GRID), slopes(profile)
    free = (tau > 2e-3) & (tau < high - 1e-9)
    assert int(free.sum()) > 10_000
    right = tau / GRID * (1 - tau * k * torch.exp(-GRID / tau))
    torch.testing.assert_close(slope[free], right[free], rtol=1e-7, atol=1e-7)


def test_ode_profile_holds_where_the_solution_leaves_the_numbers() -> None:  # B6-20
    profile = OdeProfile(0.05, 0.5, 1.5)
    assert at(profile, 0.0) == 0.05
    assert at(profile, -0.1) == 0.5  # ln is positive here: the solution is below zero
    small = OdeProfile(0.02, 0.07, 0.5)  # e^(1 / 0.07) is 1.6 million (E-16)
    c = GRID.float()
    assert torch.isfinite(small(c)).all()
    torch.testing.assert_close(small(c).double(), small(GRID), rtol=1e-3, atol=1e-5)


def test_settings_that_give_no_temperature_are_refused() -> None:
    with pytest.raises(SettingsError, match="lowest <= highest"):
        make_profile("cosine", 0.3, 0.2)
    with pytest.raises(SettingsError, match="lowest <= highest"):
        make_profile("ode", 0.0, 0.2)
    with pytest.raises(SettingsError, match="the shift is 1"):
        make_profile("shifted", 0.1, 0.2, shift=1.0)
    with pytest.raises(SettingsError, match="place of the minimum"):
        make_profile("moved-minimum", 0.1, 0.2, shift=-1.0)
    with pytest.raises(SettingsError, match="strength 7"):
        make_profile("ode", 0.1, 0.5, strength=7.0)
    with pytest.raises(SettingsError, match="no temperature profile is called 'sine'"):
        make_profile("sine", 0.1, 0.2)


def test_attached_by_choice() -> None:
    assert make_profile("linear", 0.1, 0.2, attach=True) == Attached(LinearProfile(0.1, 0.2))
    assert make_profile("linear", 0.1, 0.2) == LinearProfile(0.1, 0.2)
