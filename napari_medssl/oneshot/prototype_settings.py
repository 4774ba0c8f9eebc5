"""The settings of prototype segmentation: every value the published text leaves open has a name here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_medssl.settings import setting

ThresholdMode = Literal["fixed", "dynamic"]

_DYNAMIC_ORGANS = ("kidney", "renal", "ren ")  # the organs whose Dice was higher with the dynamic threshold


@dataclass(frozen=True)
class PrototypeSettings:
    """How prototypes are taken from the labelled slices and compared with the query (thesis chapter 7).

    The defaults are the reference path. Where the text gives no number, it is that of the authors' public code.
    """

    method: Literal["cowpro", "alpnet", "panet"] = setting(
        "cowpro",
        "cowpro: correlation-weighted prototypes; alpnet: best local prototype; panet: one global prototype.",
    )
    window: Literal[2, 4] = setting(4, "Averaging window of local prototypes, in feature cells of 8 pixels.")
    threshold: Literal["per-organ", "fixed", "dynamic"] = setting(
        "per-organ",
        "Which cells become prototypes: a fixed share, a share that follows the mask, or dynamic for kidneys only.",
    )
    fixed_threshold: float = setting(
        0.95, "Fixed mode: least mask share of a cell, foreground and background.", ge=0.0, le=1.0, advanced=True
    )
    dynamic_fraction: float = setting(
        0.8, "Dynamic mode: foreground cells above this fraction of the fullest cell.", ge=0.0, le=1.0, advanced=True
    )
    temperature: float = setting(
        0.05, "Softmax temperature over prototypes; lower follows the best one more.", ge=1e-4, le=10.0, advanced=True
    )
    logit_scale: float = setting(
        20.0, "Factor on the two cosines before the final softmax.", ge=1e-3, le=1000.0, advanced=True
    )
    renormalise: bool = setting(
        False, "Bring the aggregated prototype back to unit length before the final score.", advanced=True
    )
    top_percent: float = setting(
        100.0, "Use only this share of prototypes, the most similar of each pixel.", ge=0.01, le=100.0, advanced=True
    )
    eps: float = setting(
        1e-4, "Shortest length a vector is divided by when normalised.", ge=1e-12, le=1.0, advanced=True
    )
    same_area: bool = setting(
        True, "On finer or coarser feature grids, scale the window to the same image area.", advanced=True
    )


def threshold_mode(settings: PrototypeSettings, organ: str = "") -> ThresholdMode:
    """The threshold to use for an organ by name.

    "per-organ" is dynamic for kidneys and fixed for everything else: thesis Table 7.2, Dice dynamic / fixed: right
    kidney 79.54 / 79.06, left kidney 74.59 / 72.24, liver 73.87 / 75.04, spleen 66.33 / 71.19.

    >>> threshold_mode(PrototypeSettings(), "Right kidney"), threshold_mode(PrototypeSettings(), "liver")
    ('dynamic', 'fixed')
    """
    if settings.threshold != "per-organ":
        return settings.threshold
    name = f"{organ.lower()} "
    return "dynamic" if any(word in name for word in _DYNAMIC_ORGANS) and "adrenal" not in name else "fixed"


def window_cells(settings: PrototypeSettings, stride: int) -> int:
    """Side of the averaging window in cells of a grid with `stride` pixels per cell.

    The published windows 2 and 4 belong to stride 8. With `same_area` a grid of stride 4 gets 4 and 8.
    """
    if not settings.same_area:
        return settings.window
    return max(1, round(settings.window * REFERENCE_STRIDE / stride))


REFERENCE_STRIDE = 8
"""Pixels per feature cell of the published encoder (256 pixels to 32 cells)."""
