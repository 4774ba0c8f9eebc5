"""What is measured and which goal it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from napari_medssl.settings import setting

# The project's speed goals. Ratios compare two things in the same run on the same machine; seconds are for two cores.
ENCODING_SHARE = 0.85
WARM_SHARE = 0.1
WARM_SECONDS = 1.0
WARM_REFINED_SECONDS = 3.0
CORRECTION_SECONDS = 1.0
WALKER_SHARE = 1.0
FLOAT_COPIES = 3
LARGE_BYTES = 8 * 2**30
TRAINING_STEP = 1.15


@dataclass(frozen=True)
class BenchSettings:
    """How much is measured."""

    slices: int = setting(40, "slices of the scan, each 256 x 256", ge=4, le=400)
    repeats: int = setting(3, "times each thing is measured; the fastest counts", ge=1, le=20)
    organ: str = setting("liver", "organ of the phantom that is segmented")


@dataclass(frozen=True)
class Measurement:
    """One number with its goal.

    what: for people. value, unit: as measured. goal: the limit, or None when there is none. better: the side of the
    goal on which it is met. detail: the two numbers behind a ratio, and the like.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["higher", "lower"] = "lower"
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def facts(self) -> dict[str, Any]:
        """The measurement for JSON."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "met": self.met}
