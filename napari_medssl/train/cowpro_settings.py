"""The recipe of the published self-supervised training."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.oneshot.episodes import EpisodeSettings
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.settings import setting
from napari_medssl.train.optim import SgdSettings


@dataclass(frozen=True)
class CowproTrainSettings:
    """Self-supervised training on superpixel episodes (thesis 7.4.1 and 7.5.2).

    The defaults are the published recipe but for the encoder: ResNet-101 ("resnet101-s8") takes hours on a GPU,
    ResNet-18 trains on a laptop.
    """

    encoder: str = setting("resnet18-s8", "Encoder by name: resnet101-s8 (published), resnet50-s8, slice-resnet, ...")
    encoder_options: str = setting("", 'Arguments of the encoder as JSON, such as {"in_slices": 3}.', advanced=True)
    start_from: str = setting("", "Weights to start from: a torchvision/COCO file, or a weights file of this project.")
    iterations: int = setting(100_000, "Optimiser steps.", ge=1)
    batch: int = setting(1, "Episodes per step.", ge=1, le=256)
    size: int = setting(256, "Side of the encoder's input in pixels.", ge=32, le=1024)
    exclude_labels: str = setting(
        "", "Label values whose slices are never trained on, separated by spaces; needs label maps beside the scans."
    )
    freeze_norm: bool = setting(False, "Leave the statistics of batch normalisation as they are.", advanced=True)
    save_every: int = setting(200, "Iterations between saved states.", ge=1, advanced=True)
    log_every: int = setting(50, "Iterations between rows of the log.", ge=1, advanced=True)
    seed: int = setting(1234, "Seed of every draw.", ge=0)
    sgd: SgdSettings = field(default_factory=SgdSettings)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    superpixels: SuperpixelSettings = field(default_factory=SuperpixelSettings)


@dataclass(frozen=True)
class AdaptSettings:
    """A short self-supervised training on the scan at hand."""

    iterations: int = setting(200, "Optimiser steps.", ge=1, le=100_000)
    learning_rate: float = setting(1e-3, "Learning rate.", ge=0.0, le=10.0)
    checks: int = setting(
        32, "Held-out episodes scored before and after; the scan's own encoder is kept only if it is not worse.", ge=1
    )
    seed: int = setting(0, "Seed of every draw.", ge=0)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    superpixels: SuperpixelSettings = field(default_factory=SuperpixelSettings)
