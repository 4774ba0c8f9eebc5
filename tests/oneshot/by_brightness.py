"""A recogniser that knows organs by their brightness alone, and a scan that shows two of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.intensity import window_limits
from napari_medssl.oneshot.provider import STRUCTURES_BYTES, Structures
from napari_medssl.oneshot.recognition import RecogniserAt
from napari_medssl.volume import Volume

LOOKS = 3  # under which a labelled slice is shown
SHAPE = (12, 64, 64)
LEFT, RIGHT = np.s_[2:10, 20:44, 6:28], np.s_[4:8, 20:44, 36:58]


class ByBrightness(nn.Module):
    """Knows "bright" and "grey" of one set by their brightness, and "grey" of another; counts its slices.

    What lies in the left half of its input only, if `sided`; with the probability `sure`. Of slices no longer than
    `least_mm` it knows nothing.
    """

    input_size = 64

    def __init__(self, *, sided: bool = False, sure: float = 1 - 3e-7, least_mm: float = 0) -> None:
        super().__init__()
        self.asked, self.sided, self.least_mm = 0, sided, least_mm
        self.logit = float(np.log(sure / (1 - sure)))
        self.structures = {"set": ("bright", "grey"), "other": ("grey",)}
        self.seen: list[Tensor] = []

    def groups_for(self, side_mm: float) -> list[str]:
        return list(self.structures) if side_mm > self.least_mm else []

    def channels(self, group: str) -> slice:
        return {"set": slice(0, 3), "other": slice(3, 5)}[group]

    def forward(self, slices: Tensor) -> Tensor:
        self.asked += len(slices)
        self.seen.append(slices)
        middle = slices[:, 2]
        bright, grey = (middle > 0.8).float(), ((middle > 0.4) & (middle <= 0.8)).float()
        if self.sided:
            bright = bright * (torch.arange(64) < 32)
        here, absent = self.logit, -15.0
        bright, grey = (absent + (here - absent) * found for found in (bright, grey))
        blank = torch.zeros_like(middle)
        return torch.stack([blank, bright, grey, blank, grey], 1)


@dataclass
class Made:
    """What an engine gives."""

    recogniser: nn.Module = field(default_factory=ByBrightness)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights_hash: str = "made by hand"
    structures: Structures = field(default_factory=lambda: BoundedCache(STRUCTURES_BYTES))


def scan(z_mm: float = 4.0, directions: tuple[float, float, float] = (1, -1, -1)) -> Volume:
    """A bright block on the left and a grey one on the right, on black."""
    data = np.zeros(SHAPE, np.float32)
    data[LEFT], data[RIGHT] = 100, 60
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = z_mm * directions[0], directions[1], directions[2], 1
    return Volume(data, affine)


def block(where: tuple[slice, ...], z: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[where] = True
    return mask[z]


def at(volume: Volume, models: Made | None = None) -> RecogniserAt:
    return RecogniserAt(volume, models or Made(), window_limits(volume))  # type: ignore[arg-type]
