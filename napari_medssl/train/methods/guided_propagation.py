"""Guided walks: a propagator learns to revise a first answer while it carries a mask from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_medssl.models.propagator import build_propagator
from napari_medssl.settings import setting
from napari_medssl.train.episodes.guided_walks import GuidedWalks, GuideSettings
from napari_medssl.train.episodes.rehearsals import Cast, Rehearsals
from napari_medssl.train.episodes.sources import WalkSettings
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.propagators import carrier, carriers_in, cast_of, propagator_from
from napari_medssl.train.objectives.mask_walk import MaskWalk
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class GuidedPropagationSettings:
    """Training of a guided propagator on rehearsed segmentations of scans on their own grid; it is no encoder."""

    first: str = setting(
        "",
        "Weights file with a propagator: it and the reviser, if there is one, give the first answers. The reviser, or "
        "else the propagator, is the start. Empty: none.",
    )
    propagator: str = setting("crop-unet", "Propagator by name, when there is none to start from.")
    propagator_options: str = setting("{}", 'Its arguments as JSON, such as {"crop_size": 96}.', advanced=True)
    spacing_mm: float = setting(0.0, "Voxel size the scans are brought to; 0: their own.", ge=0.0, le=20.0)
    walks: WalkSettings = field(default_factory=lambda: WalkSettings(steps=4, supervoxel_share=0.2))
    guides: GuideSettings = field(default_factory=GuideSettings)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            steps=5500,
            batch=8,
            validation_share=0.0,
            monitor_every=0,
            optim=OptimSettings(learning_rate=8e-4, schedule="cosine", warmup=0.02, clip_norm=1.0),
        )
    )


def build(settings: GuidedPropagationSettings) -> Recipe:
    """Propagator, guided walks and loss."""
    facts: dict[str, Any] = {}
    cast: Cast | None = None
    if settings.first:
        bundle = carriers_in(Path(settings.first))
        cast = cast_of(bundle)
        name, config = bundle.modules["propagator"]["name"], bundle.modules["propagator"]["config"]
        network: Any = carrier(bundle, "reviser")  # another than the cast's, who stays as it is while this one learns
        if network is None:
            network = widened(cast.propagator, build_propagator(name, **config | {"guided": True}))
        facts["starts_from"] = bundle.sha256
    else:
        name = settings.propagator
        network = propagator_from(settings.propagator, settings.propagator_options, guided=True)
    walks = Rehearsals(
        settings.walks,
        cast,
        seed=settings.run.seed,
        share=settings.guides.walker_share,
        large_share=settings.guides.large_share,
        alike_share=settings.guides.alike_share,
    )
    task = GuidedWalks(settings.guides, walks, steps=settings.walks.steps, crop_size=network.crop_size)
    objective = MaskWalk(network.train().to(memory_format=torch.channels_last))
    return Recipe(task, objective, name, role="reviser", facts=facts)


def widened(first: nn.Module, network: Any) -> Any:
    """`network` with the weights of `first`, which has fewer input channels; it does not see the new ones yet."""
    known, state = first.state_dict(), network.state_dict()
    for name, value in known.items():
        if value.shape == state[name].shape:
            state[name] = value
        else:
            state[name] = torch.zeros_like(state[name])
            state[name][:, : value.shape[1]] = value
    network.load_state_dict(state)
    return network


SMALL = GuidedPropagationSettings(
    propagator_options='{"features": [8, 8, 8, 8, 8, 8], "crop_size": 48}',
    walks=WalkSettings(supervoxels=20),
    guides=GuideSettings(pool=16),
    run=RunSettings(steps=200, batch=2, validation_share=0.0, monitor_every=0, optim=OptimSettings(clip_norm=1.0)),
)

add_method(
    Method(
        name="guided-propagation",
        line="as propagation, but guided by a first answer; gives the reviser of the one-shot segmentation",
        source="ours; default weights; after Sli2Vol (Yeung et al. 2021)",
        family="episodes",
        dims=2,
        settings=GuidedPropagationSettings,
        small=SMALL,
        build=build,
    )
)
