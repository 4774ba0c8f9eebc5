"""A number that may not exist, with the reason why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measure:
    """value: None where the measure is not defined. reason: then says why, for people."""

    value: float | None
    reason: str = ""


def mean_measure(measures: Iterable[Measure]) -> Measure:
    """The mean of those that exist; the reason counts the others."""
    found = list(measures)
    values = [m.value for m in found if m.value is not None]
    missing = [m.reason for m in found if m.value is None]
    note = f"{len(missing)} of {len(found)} undefined: {missing[0]}" if missing else ""
    return Measure(float(np.mean(values)), note) if values else Measure(None, note or "nothing was measured")
