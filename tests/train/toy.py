"""A method as small as can be, for tests of what every method goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_medssl.pretext.scan import Scan, pick_scan, slice_stack, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe
from napari_medssl.train.objective import Objective
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class ToySettings:
    size: int = setting(16, "side of a slice", ge=4)
    poison_from: int = setting(-1, "step from which the loss is NaN; -1: never")
    poison_steps: int = setting(1, "for how many steps")
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            steps=12, batch=4, validation_share=0.0, monitor_every=0, log_every=3, save_every=4, epoch=16,
            optim=OptimSettings(name="adam", learning_rate=1e-2, schedule="cosine"),
        )
    )  # fmt: skip


class ToyEncoder(nn.Module):
    in_slices, channels, stride = 1, 4, 2

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.GroupNorm(1, 4), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class BrightnessTask:
    """Tell the mean brightness of a slice to which a drawn amount was added."""

    def draw(self, scans: list[Scan], rng: np.random.Generator) -> Example:
        scan = pick_scan(scans, rng)
        image = slice_stack(scan, int(rng.integers(scan.shape[0])))
        return {"image": image.clone(), "amount": torch.tensor(rng.random(), dtype=torch.float32)}

    def prepare(self, batch: Example) -> Example:
        image = to_float(batch["image"]) * 0.5 + batch["amount"][:, None, None, None] * 0.5
        return {"image": image, "label": image.mean((1, 2, 3))}


class ToyObjective(Objective):
    def __init__(self, settings: ToySettings) -> None:
        super().__init__()
        self.encoder = ToyEncoder()
        self.head = nn.Linear(4, 1)
        self.settings = settings
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.shares: list[float] = []

    def forward(self, batch: Example) -> dict[str, Tensor]:
        found = self.head(self.encoder(batch["image"]).mean((2, 3)))[:, 0]
        loss = ((found - batch["label"]) ** 2).mean()
        first = self.settings.poison_from
        if first >= 0 and first <= int(self.steps) < first + self.settings.poison_steps:
            loss = loss * float("nan")
        return {"loss": loss, "error": loss.detach().sqrt()}

    def begin_step(self, share: float) -> None:
        self.shares.append(share)

    def end_step(self) -> None:
        self.steps += 1


def toy_method(**changes: Any) -> Method:
    def build(settings: ToySettings) -> Recipe:
        return Recipe(BrightnessTask(), ToyObjective(settings), "toy")

    return Method("toy", "tells brightness", "test", "predictive", 2, ToySettings, ToySettings(), build, **changes)


def toy_scans(count: int = 4, *, labels: bool = False, size: int = 16) -> list[Scan]:
    rng = np.random.default_rng(3)
    made = []
    for i in range(count):
        image = rng.integers(0, 255, (6, size, size), dtype=np.uint8)
        mask = (image > 128).astype(np.uint8) if labels else None
        made.append(Scan(image, mask, (2.0, 1.0, 1.0), f"s{i}.nii", "toy", f"s{i}"))
    return made
