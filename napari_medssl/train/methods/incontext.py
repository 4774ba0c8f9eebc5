"""In-context episodes: an encoder learns to find the organs of one slice in another."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.settings import setting
from napari_medssl.train.episodes.organ_episodes import OrganEpisodes, OrganEpisodeSettings
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_encoder import chosen_encoder
from napari_medssl.train.objectives.organ_matching import OrganMatching
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class InContextSettings:
    """Training on pairs of slices that show the same organs; superpixels stand in where there are no labels."""

    encoder: str = setting("slice-resnet", "Encoder by name.")
    encoder_options: str = setting("{}", 'Arguments of the encoder as JSON, such as {"width": 32}.', advanced=True)
    size: int = setting(192, "Side of the encoder's input in pixels.", ge=32, le=1024)
    episodes: OrganEpisodeSettings = field(default_factory=OrganEpisodeSettings)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(steps=6000, batch=4, optim=OptimSettings(clip_norm=1.0))
    )


def build(settings: InContextSettings) -> Recipe:
    """Encoder, episodes and loss."""
    encoder = chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)
    task = OrganEpisodes(settings.episodes, context=encoder.in_slices)
    return Recipe(task, OrganMatching(encoder.to(memory_format=torch.channels_last)), settings.encoder)


SMALL = InContextSettings(
    encoder_options='{"width": 8, "channels": 16}',
    size=64,
    episodes=OrganEpisodeSettings(superpixels=SuperpixelSettings(scale=100.0, sigma=0.8, min_size=800)),
    run=RunSettings(steps=200, batch=2, optim=OptimSettings(clip_norm=1.0)),
)

add_method(
    Method(
        name="incontext",
        line="finds the organs of one slice in another scan, by labels where there are any, else superpixels",
        source="ours; default weights; after thesis 7.4.1",
        family="episodes",
        dims=2,
        settings=InContextSettings,
        small=SMALL,
        build=build,
    )
)
