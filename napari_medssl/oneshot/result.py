"""What a segmentation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.volume import Volume


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The organs of a scan.

    labels: label map on the query's grid; 0 is background; `labels.labels` has names and colours.
    probability: organ value to (Z, Y, X) float16 in [0, 1], foreground probability before organs compete.
    report: JSON-ready facts: versions, weights hash, input hashes, settings, seed, seconds per step, volume_ml per
        organ, slice range and where it came from ("oracle" when given by the caller), warnings.
    strokes: corrections that are in it, in the order they were painted.
    """

    labels: Volume
    probability: dict[int, np.ndarray]
    report: dict[str, Any] = field(default_factory=dict)
    strokes: tuple[Stroke, ...] = ()


def recognised_as(known: Mapping[str, Any]) -> str:
    """An entry of `recognised` of a report in words."""
    return f"{', '.join(known['names'])} (overlap {known['overlap']:.2f} where it was labelled)"
