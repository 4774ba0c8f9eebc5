"""What a temperature is: a function from the cosines of a batch to the numbers they are divided by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.pairs import positives


class Temperature(Protocol):
    """Takes the (2N, 2N) cosines of a batch, rows n and n + N being partners; see `losses.pairs`.

    A profile (losses.temperature_profiles) looks at each cosine by itself, others at the batch.
    least: a bound below all temperatures it can give, which losses check that break at low ones.
    """

    @property
    def least(self) -> float: ...

    def __call__(self, cosines: Tensor) -> Tensor:
        """Positive temperatures that `cosines` can be divided by."""
        ...


def scaled(cosines: Tensor, temperature: Temperature) -> Tensor:
    """Logits c / tau(c). The gradient does not see tau, unless the temperature is `Attached`.

    The derivation of DySTreSS (thesis 6.4.1) takes tau' into account; the method says that tau is "replaced", and the
    authors' public code takes it as a constant, as is the default here (B6-05).
    """
    return cosines / temperatures(cosines, temperature)


def temperatures(cosines: Tensor, temperature: Temperature) -> Tensor:
    """tau(c), without a gradient unless the temperature is `Attached`."""
    return temperature(cosines if isinstance(temperature, Attached) else cosines.detach())


@dataclass(frozen=True)
class Attached:
    """`profile` with the gradient running through it too.

    The logit then falls with rising similarity wherever tau - c tau' is negative: for the cosine profile from 0.07 to
    0.5 it reaches -0.053, so that some negative pairs attract each other.
    """

    profile: Temperature

    @property
    def least(self) -> float:
        return self.profile.least

    def __call__(self, cosines: Tensor) -> Tensor:
        return self.profile(cosines)


@dataclass(frozen=True)
class Constant:
    """The same temperature for every pair."""

    value: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0):
            raise SettingsError(f"the temperature is {self.value:g}; it must be above 0")

    @property
    def least(self) -> float:
        return self.value

    def __call__(self, cosines: Tensor) -> Tensor:
        return cosines.new_tensor(self.value)


@dataclass(frozen=True)
class AlignmentTemperature:
    """MACL: base (1 + alpha (A - start)), one temperature for the batch, A the mean cosine of its positive pairs.

    A model that aligns partners well gets a higher temperature, which spares similar negatives. alpha in [0, 1];
    start: the alignment at which the temperature is `base`.

    Source: Huang et al. (2023), general knowledge; the thesis quotes MACL without its formula.
    """

    base: float = 0.1
    alpha: float = 0.5
    start: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.alpha <= 1 and -1 <= self.start <= 1 and 0 < self.least < math.inf):
            raise SettingsError(
                f"MACL temperature with base {self.base:g}, alpha {self.alpha:g} and start {self.start:g}; base above "
                "0, alpha in [0, 1] and start in [-1, 1] are needed, and base (1 - alpha (1 + start)) above 0"
            )

    @property
    def least(self) -> float:
        return self.base * (1 - self.alpha * (1 + self.start))

    def __call__(self, cosines: Tensor) -> Tensor:
        return self.base * (1 + self.alpha * (positives(cosines).mean() - self.start))


@dataclass(frozen=True)
class CosineSchedule:
    """A temperature for each moment of a run: from `high` down to `low` and back, `periods` times.

    Source: Kukleva et al. (2023), general knowledge: 0.1 to 1.0, five periods of 400 epochs; the thesis quotes it
    without a formula. The period is a share of the run here, so that short runs see all of it.
    """

    low: float = 0.1
    high: float = 1.0
    periods: float = 5.0

    def __post_init__(self) -> None:
        check_range(self.low, self.high)
        if not 0 < self.periods < math.inf:
            raise SettingsError(f"the temperature schedule has {self.periods:g} periods; more than 0 are needed")

    def at(self, share: float) -> Constant:
        """The temperature when `share` of the run, in [0, 1], is done."""
        return Constant(self.low + 0.5 * (self.high - self.low) * (1 + math.cos(2 * math.pi * self.periods * share)))


def check_range(low: float, high: float) -> None:
    """Raise SettingsError unless 0 < low <= high."""
    if not 0 < low <= high < math.inf:
        raise SettingsError(f"temperatures run from {low:g} to {high:g}; 0 < lowest <= highest is needed")
