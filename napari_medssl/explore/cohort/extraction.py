"""Which features: the same encoder and settings for every scan of a cohort."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.progress import Steps
from napari_medssl.settings import to_dict
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.engine import Engine

_SCRATCH = "scratch.zarr"


@dataclass(frozen=True)
class Extraction:
    """Weights, as `Engine.grid_steps` takes them, and settings."""

    weights: str = "default3d"
    settings: ExtractSettings = field(default_factory=ExtractSettings)

    def depends_on(self, engine: Engine) -> dict[str, Any]:
        """Hash of the weights, and the settings."""
        return {"weights": self._sha256(engine), "settings": to_dict(self.settings)}

    def grid_steps(self, volume: Volume, engine: Engine, out: Path) -> Steps[FeatureGrid]:
        """The grid of a scan, kept at `out`, a `.zarr` or `.npz`."""
        return engine.grid_steps(volume, weights=self.weights, settings=self.settings, out=out)

    def scratch_steps(self, volume: Volume, engine: Engine, folder: Path) -> Steps[FeatureGrid]:
        """The grid of a scan on disk in `folder`, which is deleted afterwards: only slabs of it are in memory."""
        return self.grid_steps(volume, engine, folder / _SCRATCH)

    def _sha256(self, engine: Engine) -> str:
        from napari_medssl.engine.engine import SLICES
        from napari_medssl.engine.volume_weights import load_encoder

        return engine.weights_hash if self.weights == SLICES else load_encoder(self.weights, engine.policy).sha256


def grid_facts(grid: FeatureGrid) -> dict[str, Any]:
    """What a report says of a grid, as plain JSON values, with its notes for the user."""
    encoder = dict(grid.encoder)
    notes = list(encoder.pop("notes", ()))
    cells = " x ".join(map(str, grid.shape))
    spacing = " x ".join(f"{s:.2g}" for s in grid.spacing_mm)
    return {
        "cells": list(grid.shape),
        "spacing_mm": [round(s, 4) for s in grid.spacing_mm],
        "channels": grid.channels,
        "bytes": grid.nbytes,
        "encoder": encoder,
        "summary": f"{cells} cells of {spacing} mm, {grid.channels} channels",
        "notes": notes,
    }
