"""Slice walks: a propagator learns to carry a mask from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from napari_medssl.settings import setting
from napari_medssl.train.episodes.sources import WalkSettings
from napari_medssl.train.episodes.walks import Walks
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.propagators import propagator_from
from napari_medssl.train.objectives.mask_walk import MaskWalk
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class PropagationSettings:
    """Training of the propagator on short walks through scans on their own grid; it is no encoder."""

    propagator: str = setting("crop-unet", "Propagator by name.")
    propagator_options: str = setting("{}", 'Its arguments as JSON, such as {"crop_size": 96}.', advanced=True)
    spacing_mm: float = setting(0.0, "Voxel size the scans are brought to; 0: their own.", ge=0.0, le=20.0)
    walks: WalkSettings = field(default_factory=WalkSettings)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            steps=6000, batch=8, validation_share=0.0, monitor_every=0, optim=OptimSettings(clip_norm=1.0)
        )
    )


def build(settings: PropagationSettings) -> Recipe:
    """Propagator, walks and loss."""
    network = propagator_from(settings.propagator, settings.propagator_options).train()
    task = Walks(settings.walks, crop_size=network.crop_size)
    objective = MaskWalk(network.to(memory_format=torch.channels_last))
    return Recipe(task, objective, settings.propagator, role="propagator")


SMALL = PropagationSettings(
    propagator_options='{"features": [8, 8, 8, 8, 8, 8], "crop_size": 48}',
    walks=WalkSettings(supervoxels=20),
    run=RunSettings(steps=200, batch=2, validation_share=0.0, monitor_every=0, optim=OptimSettings(clip_norm=1.0)),
)

add_method(
    Method(
        name="propagation",
        line="carries a mask from slice to slice; gives the propagator of the one-shot segmentation, no encoder",
        source="ours; default weights; after Sli2Vol (Yeung et al. 2021)",
        family="episodes",
        dims=2,
        settings=PropagationSettings,
        small=SMALL,
        build=build,
    )
)
