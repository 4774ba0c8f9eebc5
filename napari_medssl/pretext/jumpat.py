"""The jigsaw puzzle of thesis chapter 3: nine patches of a slice, changed one by one and put in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.arrangements import Arrangements, setarr, uniform_arrangements
from napari_medssl.pretext.move_choice import draw_continuous_moves, draw_discrete_moves, still
from napari_medssl.pretext.patches import PATCHES, Moves, arrange, cut_patches, move
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.pretext.slice_choice import draw_slice
from napari_medssl.pretext.task import Example
from napari_medssl.settings import check, setting
from napari_medssl.transforms.white_noise import draw_noise_places, white_noise


@dataclass(frozen=True)
class JumpatSettings:
    """How puzzles are made; the defaults are those of the thesis."""

    size: int = setting(256, "Side of the framed slice in pixels.", ge=24, le=1024)
    patch: int = setting(64, "Side of a patch in pixels, at most a third of the slice's.", ge=8, le=340)
    classes: int = setting(1000, "Arrangements to tell apart.", ge=2, le=100_000)
    arrangements: Literal["spread", "uniform"] = setting(
        "spread", "spread: far from each other (SETARR, SSLACL; up to 1887); uniform: any (SKID)."
    )
    moves: Literal["discrete", "continuous", "none"] = setting(
        "discrete", "Rotation, shift and scale of each patch: from three values each, from the whole range, or none."
    )
    noise_variance: float = setting(0.01, "Variance of the white noise on patches in [0, 1].", ge=0.0, le=1.0)
    arrangement_seed: int = setting(0, "Seed of the choice of arrangements.", ge=0, advanced=True)


class JumbledPatches:
    """The task (JUMPAT, thesis Alg. 3.2): which arrangement do the nine patches of a slice have?

    The slice is cut into 3 x 3 parts; each is changed by its own geometric transform, cropped at a random place and
    noised; slot k then receives patch T[k]. Readings: counting from 0 (B3-09), an ordered list (B3-10), change before
    crop with mirrored borders (B3-12), intensities in [0, 1] before noise and clipped after (B3-15).

    channels: neighbouring slices stacked as channels. arrangements: (classes, 9), row = label.

    A prepared batch has patches (B, 9, C, patch, patch) float32 in [0, 1], label (B,) int64, arrangement (B, 9) int64,
    and of each unjumbled patch moves (B, 9, 4) (rotation in degrees, shift along y and x in pixels, scale) and corner
    (B, 9, 2) (y, x of the crop in its part).
    """

    def __init__(self, settings: JumpatSettings, channels: int = 1) -> None:
        check(settings)
        if settings.patch > settings.size // 3:
            raise SettingsError(
                f"patch is {settings.patch}; it must be at most {settings.size // 3}, a third of the slice's "
                f"{settings.size} pixels"
            )
        self.settings, self.channels, self.classes = settings, channels, settings.classes
        self.arrangements = _choose(settings)

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """slices (channels, size, size) uint8, label, arrangement, and the parameters of every patch."""
        settings = self.settings
        # Bars beside a slice that is not square would tell the column of a patch.
        slices = draw_slice(scans, rng, size=settings.size, channels=self.channels, bars="stretch")
        label = int(rng.integers(self.classes))
        room = settings.size // 3 - settings.patch
        return {
            "slices": slices,
            "label": torch.tensor(label),
            "arrangement": torch.from_numpy(self.arrangements[label].astype(np.int64)),
            "moves": torch.from_numpy(_draw_moves(settings, rng)),
            "corner": torch.from_numpy(rng.integers(0, room + 1, (PATCHES, 2))),
            "noise_place": torch.from_numpy(draw_noise_places(rng, 1))[0],
        }

    def prepare(self, batch: Example) -> Example:
        """Patches in their jumbled order, with what tells how they came about."""
        ordered = self._ordered(to_float(batch["slices"]), batch["moves"], batch["corner"])
        if self.settings.noise_variance > 0:
            noise = white_noise(batch["noise_place"], ordered.shape[1:])
            ordered = (ordered + self.settings.noise_variance**0.5 * noise).clamp(0.0, 1.0)
        kept = {name: batch[name] for name in ("label", "arrangement", "moves", "corner")}
        return {"patches": arrange(ordered, batch["arrangement"]), **kept}

    def _ordered(self, slices: Tensor, moves: Tensor, corner: Tensor) -> Tensor:
        parts = cut_patches(slices)
        flat = moves.flatten(0, 1)
        changed = move(
            parts.flatten(0, 1),
            Moves(flat[:, 0], flat[:, 1:3], flat[:, 3]),
            corner=corner.flatten(0, 1),
            size=self.settings.patch,
        )
        return changed.view(*parts.shape[:3], *changed.shape[-2:])


def _choose(settings: JumpatSettings) -> Arrangements:
    rng = np.random.default_rng(settings.arrangement_seed)
    return (setarr if settings.arrangements == "spread" else uniform_arrangements)(settings.classes, rng)


def _draw_moves(settings: JumpatSettings, rng: np.random.Generator) -> np.ndarray:
    if settings.moves == "none":
        return still(PATCHES)
    draw = draw_discrete_moves if settings.moves == "discrete" else draw_continuous_moves
    return draw(rng, PATCHES, settings.patch)
