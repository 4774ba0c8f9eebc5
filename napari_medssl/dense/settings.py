"""What a user chooses about dense extraction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from napari_medssl.intensity import IntensitySettings
from napari_medssl.settings import setting

Blend: TypeAlias = Literal["gaussian", "constant"]
Stored: TypeAlias = Literal["float16", "float32"]


@dataclass(frozen=True)
class ExtractSettings:
    """How a scan becomes a grid of features; the defaults leave every choice to the weights' card.

    Slice encoders have one stage and a frame of their own: of these settings `cell_mm`, `normalise`, `precision`,
    `batch` and `intensity` count for them.
    """

    stages: tuple[int, ...] = setting(
        (), "stages of the encoder whose features are joined, 1 the finest; none: those the weights' card names"
    )
    spacing_mm: float = setting(
        0.0, "side of the voxels the encoder is shown, in mm; 0: what it was trained on", ge=0, le=20
    )
    cell_mm: float = setting(
        0.0, "side of the cells that features are averaged over, in mm; 0: as the finest stage has them", ge=0, le=200
    )
    normalise: bool = setting(True, "give the vector of each stage length 1, so that all stages count alike")
    precision: Stored = setting("float16", "number format in which features are kept")
    patch: int = setting(
        0, "voxels along each side of a window; 0: what suits encoder and scan", ge=0, le=512, advanced=True
    )
    overlap: float = setting(0.25, "share of a window that the next one covers, too", ge=0, le=0.75, advanced=True)
    blend: Blend = setting("gaussian", "how overlapping windows are averaged", advanced=True)
    batch: int = setting(0, "windows or slices per batch; 0: what suits the device", ge=0, le=256, advanced=True)
    intensity: IntensitySettings = field(default_factory=IntensitySettings)
