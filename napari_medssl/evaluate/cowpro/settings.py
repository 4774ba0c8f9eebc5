"""The settings of the reproduction, and the two presets: the published sizes, and sizes for two processor cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.settings import setting, to_dict
from napari_medssl.train.episodes.episode_source import EpisodeSettings
from napari_medssl.train.methods.cowpro import CowproSettings
from napari_medssl.train.optimisers import COWPRO
from napari_medssl.train.run_settings import OptimSettings, RunSettings

Preset: TypeAlias = Literal["quick", "thesis"]

# Slices of 128 pixels on a grid of 32 x 32: a window of 4 cells covers as much of the body as the published one, and is
# not to be widened because its cells have fewer pixels.
_AS_PUBLISHED = PrototypeSettings(same_area=False)

QUICK = CowproSettings(
    encoder="slice-resnet",
    encoder_options='{"in_slices": 1}',
    size=128,
    episodes=EpisodeSettings(prototypes=_AS_PUBLISHED),
    run=RunSettings(
        steps=300, batch=1, optim=OptimSettings(clip_norm=1.0), seed=1234, validation_share=0.0, monitor_every=0
    ),
)
"""Half a minute a training on one core. 1.6 M parameters instead of 43 M; slices of 128 pixels instead of 256, on the
published grid of 32 x 32; 300 steps of AdamW (1e-3, one cycle) instead of 100,000 of SGD; random first weights. Loss
and episodes are the published ones, though 5 pixels of shift are more of a slice of 128."""

THESIS = CowproSettings(
    encoder="resnet101-s8",
    run=RunSettings(
        steps=100_000,
        batch=1,
        epoch=1000,
        optim=COWPRO,
        seed=1234,
        validation_share=0.0,
        monitor_every=0,
        save_every=2000,
    ),
)
"""Thesis 7.4.1.2 and 7.5.2. The COCO weights its encoder starts from are not shipped: `train.start_from`."""


@dataclass(frozen=True)
class ReproductionSettings:
    """Which scans, organs and folds; how the encoders are trained; how sure the differences are.

    prototypes: of scoring. Method, window, threshold and share are those of each variant, whatever is said here.
    """

    folds: int = setting(5, "Folds over people; 1 is for given weights, where nobody is trained on.", ge=1, le=1000)
    supports: Literal["last", "each"] = setting(
        "last", "Who shows the organs: the last scan of the fold, as published, or each of its scans in turn."
    )
    exclude: Literal["group", "nothing"] = setting(
        "group", "Slices left out of training: those with the organs that are asked for, as published, or none."
    )
    organs: str = setting(
        "2 right kidney, 3 left kidney, 1 liver, 4 spleen", "Label values and names of the organs; those of CHAOS."
    )
    groups: str = setting("2 3 | 1 4", "Labels of the organs that one training serves; a training for each group.")
    heads: Literal["shared", "own"] = setting(
        "shared", "Rows like PANet and ALPNet: on the encoders of CoWPro, or each trained through its own prototypes."
    )
    resamples: int = setting(2000, "Resamples of the intervals of differences.", ge=10, le=1_000_000)
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)
    train: CowproSettings = field(default_factory=lambda: THESIS)


def preset(name: Preset) -> ReproductionSettings:
    """The settings to begin from; "quick" has 3 folds instead of 5."""
    if name == "thesis":
        return ReproductionSettings()
    return ReproductionSettings(folds=3, prototypes=_AS_PUBLISHED, train=QUICK)


def training_facts(settings: ReproductionSettings) -> dict[str, Any]:
    """The part that decides what the weights are."""
    values = to_dict(settings)
    for name in ("supports", "resamples", "prototypes"):
        del values[name]
    for name in ("workers", "save_every", "log_every", "tensorboard", "bad_files"):
        del values["train"]["run"][name]
    return values
