"""The learning rate as a pure function of how far a run is, so that a resumed run follows the same sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_medssl.train.run_settings import OptimSettings

_GAIN = 1e-4  # what counts as falling, relative to the best loss
_ONE_CYCLE_RISE = 0.05  # share of the run, when no warm-up is set
_ONE_CYCLE_START, _ONE_CYCLE_END = 0.05, 0.01  # of the highest rate


@dataclass(frozen=True)
class _Place:
    """share: of the run done after the warm-up. epoch: finished ones. losses: mean training loss of each of them."""

    share: float
    epoch: int
    losses: Sequence[float]


def rate(settings: OptimSettings, *, share: float, epoch: int, losses: Sequence[float] = ()) -> float:
    """Learning rate of the next step.

    share: part of the run that is done, in [0, 1]; values outside are clipped. epoch: finished epochs. losses: the mean
    training loss of every finished epoch, for `plateau`.

    Warm-up multiplies the rate by share / warmup; `cosine` then falls from the highest rate to 0 over the rest of the
    run, the others count epochs from the start of the run. `one-cycle` rises from a twentieth over its warm-up (the
    first 20th of the run when none is set) and falls by a cosine to a hundredth.

    Source: thesis 3 to 7 (exponential, cosine), paper 002 (steps, plateau); one-cycle after Smith 2018.
    """
    share = min(1.0, max(0.0, share))
    if settings.schedule == "one-cycle":
        return settings.learning_rate * _one_cycle(share, settings.warmup or _ONE_CYCLE_RISE)
    rest = max(0.0, share - settings.warmup) / (1 - settings.warmup)
    factor = _FACTORS[settings.schedule](settings, _Place(rest, epoch, losses))
    warm = share / settings.warmup if share < settings.warmup else 1.0
    return settings.learning_rate * warm * factor


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often the loss went `patience` epochs without falling; the count starts anew after each time.

    Falling is a gain of more than 1e-4 of the best loss so far; a loss that is not a number never gains.
    """
    best, waited, found = math.inf, 0, 0
    for loss in losses:
        least = best - _GAIN * abs(best) if math.isfinite(best) else best
        if loss < least:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= patience:
            found, waited = found + 1, 0
    return found


def _one_cycle(share: float, rise: float) -> float:
    if share < rise:
        return _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * share / rise
    return _ONE_CYCLE_END + (1 - _ONE_CYCLE_END) * _cosine((share - rise) / (1 - rise))


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


_FACTORS: dict[str, Callable[[OptimSettings, _Place], float]] = {
    "constant": lambda s, at: 1.0,
    "cosine": lambda s, at: _cosine(at.share),
    "exponential": lambda s, at: s.decay**at.epoch,
    "steps": lambda s, at: s.decay ** (at.epoch // s.decay_every),
    "plateau": lambda s, at: s.decay ** plateaus(at.losses, s.patience),
}
