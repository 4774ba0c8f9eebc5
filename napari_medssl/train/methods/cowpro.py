"""CoWPro: self-supervised training of an encoder on superpixel episodes."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.settings import setting
from napari_medssl.train.episodes.episode_source import EpisodeSettings
from napari_medssl.train.episodes.superpixel_episodes import SuperpixelEpisodes, parse_labels
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_encoder import starting_encoder
from napari_medssl.train.objectives.superpixel_matching import SuperpixelMatching
from napari_medssl.train.optimisers import COWPRO
from napari_medssl.train.run_settings import RunSettings


@dataclass(frozen=True)
class CowproSettings:
    """Self-supervised training on superpixel episodes (thesis 7.4.1 and 7.5.2).

    The defaults are the published recipe but for the encoder: ResNet-101 ("resnet101-s8") takes hours on a GPU,
    ResNet-18 trains on a laptop.
    """

    encoder: str = setting("resnet18-s8", "Encoder by name: resnet101-s8 (published), resnet50-s8, slice-resnet, ...")
    encoder_options: str = setting("{}", 'Arguments of the encoder as JSON, such as {"in_slices": 3}.', advanced=True)
    start_from: str = setting("", "Weights to start from: a torchvision/COCO file, or a weights file of this project.")
    size: int = setting(256, "Side of the encoder's input in pixels.", ge=32, le=1024)
    exclude_labels: str = setting(
        "", "Label values whose slices are never trained on, separated by spaces; needs label maps beside the scans."
    )
    freeze_norm: bool = setting(False, "Leave the statistics of batch normalisation as they are.", advanced=True)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    superpixels: SuperpixelSettings = field(default_factory=SuperpixelSettings)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(steps=100_000, batch=1, epoch=1000, optim=COWPRO, seed=1234)
    )


def build(settings: CowproSettings) -> Recipe:
    """Encoder, episodes and loss."""
    exclude = parse_labels(settings.exclude_labels)
    encoder, start = starting_encoder(
        settings.encoder, settings.encoder_options, settings.start_from, size=settings.size
    )
    task = SuperpixelEpisodes(
        settings.episodes, settings.superpixels, context=encoder.in_slices, stride=encoder.stride, exclude=exclude
    )
    objective = SuperpixelMatching(encoder, settings.episodes, freeze_norm=settings.freeze_norm)
    return Recipe(task, objective, settings.encoder, facts={"start": start})


SMALL = CowproSettings(
    encoder="slice-resnet",
    encoder_options='{"width": 8, "channels": 16, "in_slices": 1}',
    size=64,
    superpixels=SuperpixelSettings(min_size=800),
    run=RunSettings(steps=200, batch=2, epoch=1000, optim=COWPRO, seed=1234),
)

add_method(
    Method(
        name="cowpro",
        line="finds a superpixel of a slice in a changed copy of it, by prototypes",
        source="thesis 7.4.1, Eq. 7.12 to 7.14",
        family="episodes",
        dims=2,
        settings=CowproSettings,
        small=SMALL,
        build=build,
    )
)
