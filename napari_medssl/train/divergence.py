"""Notices when a run has gone wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from napari_medssl.errors import MedSSLError

_BAD_STEPS = 20
_WINDOW = 50
_EXPLOSION = 10.0


class DivergedError(MedSSLError):
    """The run cannot go on; the state on disk is from before."""


class Watch:
    """Follows the losses of a run.

    Single steps whose loss or gradient is not finite are skipped and counted. The run is given up after 20 of them in a
    row, or when the mean loss of the last 50 steps lies further above that of the first 50 than ten times its size.
    """

    def __init__(self) -> None:
        self.skipped, self._in_a_row = 0, 0
        self._first: list[float] = []
        self._recent: list[float] = []

    @property
    def healthy(self) -> bool:
        """Whether the newest steps may be saved over an older state."""
        return self._in_a_row == 0

    def seen(self, step: int, loss: float, out: Path) -> None:
        """Record a step; NaN for one that was skipped. Raises DivergedError when the run has gone wrong."""
        if not math.isfinite(loss):
            self.skipped += 1
            self._in_a_row += 1
            if self._in_a_row >= _BAD_STEPS:
                raise DivergedError(_advice(f"no step from {step - _BAD_STEPS + 1} to {step} was finite", out))
            return
        self._in_a_row = 0
        if len(self._first) < _WINDOW:
            self._first.append(loss)
            return
        self._recent = [*self._recent[1 - _WINDOW :], loss]
        first, recent = _mean(self._first), _mean(self._recent)
        if len(self._recent) == _WINDOW and recent - first > _EXPLOSION * max(1.0, abs(first)):
            raise DivergedError(_advice(f"the loss rose from {first:.3g} to {recent:.3g} by step {step}", out))

    def state(self) -> dict[str, Any]:
        """Plain values to go on from."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row, "first": self._first, "recent": self._recent}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.skipped, self._in_a_row = state["skipped"], state["in_a_row"]
        self._first, self._recent = state["first"], state["recent"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _advice(what: str, out: Path) -> str:
    kept = f" (the last good state is kept in {out})" if (out / "state.safetensors").is_file() else ""
    return f"{what}; lower run.optim.learning_rate or set run.optim.clip_norm and begin in another folder{kept}"
