"""Temperatures that depend on the cosine similarity of a pair: DySTreSS, its variants, and a table of them by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.temperature import Attached, Temperature, check_range
from napari_medssl.registry import Registry


@dataclass(frozen=True)
class _Range:
    """low, high: the range that a profile stays in; it reaches `high` at cosines of -1 and 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_range(self.low, self.high)

    @property
    def least(self) -> float:
        return self.low

    def _between(self, share: Tensor) -> Tensor:
        """low at 0, high at 1; rounded cosines may lie a little outside [-1, 1]."""
        return self.low + (self.high - self.low) * share.clamp(0.0, 1.0)


@dataclass(frozen=True)
class CosineProfile(_Range):
    """DySTreSS: low at 0, high at -1 and 1 (thesis equation 6.16).

    >>> float(CosineProfile(0.1, 0.2)(torch.tensor(0.0)))
    0.10000000149011612
    """

    def __call__(self, cosines: Tensor) -> Tensor:
        return self._between(0.5 * (1 + torch.cos(math.pi * (1 + cosines))))


@dataclass(frozen=True)
class LinearProfile(_Range):
    """low + (high - low) |c|. The thesis (6.5.4.1) names it without a formula; this one is ours (B6-09)."""

    def __call__(self, cosines: Tensor) -> Tensor:
        return self._between(cosines.abs())


@dataclass(frozen=True)
class ExponentialProfile(_Range):
    """low (high / low)^|c|: an exponential through both ends. Ours, as the thesis has no formula (B6-09).

    Attached, the logit is monotone only while high < e low: so from 0.1 to 0.2, not from 0.07 to 0.2.
    """

    def __call__(self, cosines: Tensor) -> Tensor:
        return self.low * (self.high / self.low) ** cosines.abs().clamp(max=1.0)


@dataclass(frozen=True)
class NormalisedExponentialProfile(_Range):
    """low + (high - low) (e^|c| - 1) / (e - 1): the other reading of "exponential" (B6-09); ours."""

    def __call__(self, cosines: Tensor) -> Tensor:
        return self._between(torch.expm1(cosines.abs()) / math.expm1(1.0))


@dataclass(frozen=True)
class ShiftedProfile(_Range):
    """Algorithm 6.1 of the thesis to the letter, with shift in (-1, 1) and scale (1 + |shift|) / 2.

    That is one full period of the cosine on [-1, -shift] for a shift to the left (up to 0), on [-shift, 1] for one to
    the right, and `high` elsewhere. So the minimum is not at the shift, as the text says, but in the middle of that
    interval, at `minimum`: -0.2 gives -0.4 and -0.4 gives -0.3 (B6-06); the authors' public code does the same.
    `MovedMinimum` does what the text says. At shift 0 both clauses of the algorithm hold, which would give two minima;
    the left one is taken, which is the published version SM3 (B6-07).
    """

    shift: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_inside(self.shift, "the shift")

    @property
    def minimum(self) -> float:
        """The cosine of the lowest temperature."""
        return (1 if self.shift > 0 else -1) * (1 - abs(self.shift)) / 2

    def __call__(self, cosines: Tensor) -> Tensor:
        scale = (1 + abs(self.shift)) / 2
        valley = 0.5 * (1 + torch.cos(math.pi / scale * (self.shift + cosines)))
        inside = cosines >= -self.shift if self.shift > 0 else cosines <= -self.shift
        return self._between(torch.where(inside, valley, 1.0))


@dataclass(frozen=True)
class MovedMinimum(_Range):
    """The cosine profile with its minimum moved to the cosine `place`, both arms stretched to reach `high` (ours).

    It is what the thesis' text (6.5.4.3) says of the shifted profiles; at place 0 it is the cosine profile.
    """

    place: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_inside(self.place, "the place of the minimum")

    def __call__(self, cosines: Tensor) -> Tensor:
        away = cosines - self.place
        arm = torch.where(away < 0, 1 + self.place, 1 - self.place)
        return self._between(0.5 * (1 - torch.cos(math.pi * (away / arm).clamp(-1.0, 1.0))))


@dataclass(frozen=True)
class OdeProfile(_Range):
    """c / ln(k c - k'), the solution of thesis equation 6.13, held in [low, high].

    strength: k = delta K of the thesis, at least 0 and below e^(1 / high) - 1, where the right half turns negative.
    The constant k' is chosen on either side so that the temperature is `high` at -1 and 1; equation 6.15 has the sign
    of delta K wrong on the right (B6-03).

    Ours, as the thesis does not say what it does there (B6-20): the solution is 0 at a cosine of 0, unless -k' = 1, so
    it is held at `low`. From k = 1 - e^(-1 / high) on it grows beyond all bounds left of 0 and comes back negative; it
    is held at `high` from where it passes it up to 0.
    """

    strength: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.high < 0.01 or not 0 <= self.strength < math.expm1(1 / self.high):
            raise SettingsError(
                f"the ode profile up to {self.high:g} with strength {self.strength:g} is no positive temperature; the "
                "highest one must be at least 0.01 and the strength at least 0 and below e^(1 / highest) - 1"
            )

    def __call__(self, cosines: Tensor) -> Tensor:
        # ln(k c - k') is written so that nothing large is subtracted: k c - k' is k (1 + c) + e^(-1 / high) on the
        # left and e^(1 / high) - k (1 - c) on the right. Each side is evaluated everywhere, within its own reach.
        left, right = cosines.clamp(-1.0, 0.0), cosines.clamp(0.0, 1.0)
        end = math.exp(-1 / self.high)
        below_one = (self.strength * (1 + left) + end).clamp(max=1 - 1e-6)
        negative = left / torch.log(below_one)
        positive = right / (1 / self.high + torch.log1p(-self.strength * end * (1 - right)))
        return torch.where(cosines < 0, negative, positive).clamp(self.low, self.high)


profiles: Registry[Any] = Registry("temperature profile")
"""Factories `(low, high, *, shift, strength) -> Temperature`; what a profile does not use, it ignores.

shift: of Algorithm 6.1, or the place of the moved minimum. strength: of the ode profile.
"""


def _plain(name: str, profile: type[_Range]) -> None:
    profiles.register(name)(lambda low, high, **_unused: profile(low, high))


def _published_shift(name: str, shift: float) -> None:
    profiles.register(name)(lambda low, high, **_unused: ShiftedProfile(low, high, shift))


_plain("cosine", CosineProfile)
_plain("linear", LinearProfile)
_plain("exponential", ExponentialProfile)
_plain("exponential-normalised", NormalisedExponentialProfile)
profiles.register("shifted")(lambda low, high, *, shift, **_unused: ShiftedProfile(low, high, shift))
profiles.register("moved-minimum")(lambda low, high, *, shift, **_unused: MovedMinimum(low, high, shift))
profiles.register("ode")(lambda low, high, *, strength, **_unused: OdeProfile(low, high, strength))
# The five profiles of thesis Figure 6.6 and Table 6.15, with the signs of the table (B6-08).
for _name, _shift in (("sm1a", 0.2), ("sm1b", 0.4), ("sm2a", -0.2), ("sm2b", -0.4), ("sm3", 0.0)):
    _published_shift(_name, _shift)


def make_profile(
    name: str, low: float, high: float, *, shift: float = 0.0, strength: float = 0.5, attach: bool = False
) -> Temperature:
    """The temperature profile of this name; see `profiles`. attach: let the gradient run through it.

    Raises SettingsError for an unknown name and for a range, shift or strength that gives no positive temperatures.
    """
    profile: Temperature = profiles[name](low, high, shift=shift, strength=strength)
    return Attached(profile) if attach else profile


def _check_inside(value: float, what: str) -> None:
    if not -1 < value < 1:
        raise SettingsError(f"{what} is {value:g}; it is a cosine and must lie between -1 and 1")
