"""The ways to segment that the tables compare; all of them use the same weights and the same features."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from napari_medssl.evaluate.cowpro.published import PERCENTS
from napari_medssl.oneshot.prototype_settings import PrototypeSettings

Head: TypeAlias = Literal["cowpro", "alpnet", "panet"]
Threshold: TypeAlias = Literal["fixed", "dynamic"]
Window: TypeAlias = Literal[2, 4]

Region: TypeAlias = Literal["off", "support", "anatomy", "truth"]
"""Where the quadrants of an organ come from: nowhere, the labelled slices, a table of sides by the organ's name, or the
query's own labels, which nobody has in use (oracle, B7-28)."""


@dataclass(frozen=True)
class Variant:
    """One way to segment: a column of results."""

    method: Head = "cowpro"
    threshold: Threshold = "fixed"
    window: Window = 4
    percent: float = 100.0
    region: Region = "off"

    @property
    def name(self) -> str:
        """Its name in reports."""
        return f"{self.method} {self.threshold} window={self.window} top={self.percent:g} quadrants={self.region}"

    def prototypes(self, base: PrototypeSettings) -> PrototypeSettings:
        """What is done before quadrants: variants that agree in it share their probabilities.

        base: where what no variant changes comes from.
        """
        return dataclasses.replace(
            base, method=self.method, window=self.window, threshold=self.threshold, top_percent=self.percent
        )


def all_variants() -> tuple[Variant, ...]:
    """Every variant a table or a difference asks for, each once."""
    thresholds: tuple[Threshold, ...] = get_args(Threshold)
    windows: tuple[Window, ...] = get_args(Window)
    regions: tuple[Region, ...] = get_args(Region)
    grid = [Variant(window=w, percent=p) for w in windows for p in PERCENTS]
    grid += [Variant(threshold=t, window=w) for t in thresholds for w in windows]
    masked = [Variant("cowpro", t, 4, 100.0, r) for t in thresholds for r in regions]
    heads: tuple[Head, ...] = ("alpnet", "panet")
    others = [Variant(h, "fixed", 4, 100.0, r) for h in heads for r in regions[:2]]
    return tuple(dict.fromkeys([*grid, *masked, *others]))


def reference_variants() -> tuple[Variant, ...]:
    """What is asked of an encoder that was not trained."""
    return (Variant(), Variant(region="support"))
