"""The jigsaw methods of thesis chapter 3: SSLACL, and SKID in its versions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.jigsaw_net import JigsawNet, skid_net, sslacl_net
from napari_medssl.models.skid import SkidVersion
from napari_medssl.pretext.jumpat import JumbledPatches, JumpatSettings
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.objectives.label import LabelObjective, in_branches
from napari_medssl.train.optimisers import THESIS_JIGSAW
from napari_medssl.train.run_settings import RunSettings

_WIDTH = "Factor of all filters; 1 as published (about 200 M parameters) needs a large GPU."
_SLICES = "Neighbouring slices stacked as channels (odd)."


def _run(batch: int, steps: int) -> RunSettings:
    """An epoch is 1130 examples, one for each exam of the thesis' training set."""
    return RunSettings(steps=steps, batch=batch, epoch=1130, optim=THESIS_JIGSAW)


@dataclass(frozen=True)
class SslaclSettings(JumpatSettings):
    """SSLACL: arrangements far from each other, batches of 32; about 50 epochs (the thesis stops at a plateau)."""

    classes: int = setting(500, "Arrangements to tell apart; the thesis has 500 and 1000.", ge=2, le=1887)
    width: float = setting(0.125, _WIDTH, ge=0.01, le=2.0)
    in_slices: int = setting(1, _SLICES, ge=1, le=9)
    norm: bool = setting(True, "Batch normalisation; without it the parameters number as published.", advanced=True)
    run: RunSettings = field(default_factory=lambda: _run(32, 1750))


@dataclass(frozen=True)
class SkidSettings(JumpatSettings):
    """SKID: 1000 arrangements drawn from all, batches of 16, 50 epochs."""

    arrangements: Literal["spread", "uniform"] = setting(
        "uniform", "uniform: any (SKID); spread: far from each other (SETARR, up to 1887)."
    )
    width: float = setting(0.125, _WIDTH, ge=0.01, le=2.0)
    in_slices: int = setting(3, _SLICES, ge=1, le=9)
    run: RunSettings = field(default_factory=lambda: _run(16, 3500))


def build_sslacl(settings: SslaclSettings) -> Recipe:
    """The nine branches with the SSLACL bottleneck (S06)."""
    _require_multiple(settings.patch, 8)
    net = sslacl_net(settings.classes, in_slices=settings.in_slices, width=settings.width, norm=settings.norm)
    return _recipe(settings, net, settings.in_slices, "sslacl-trunk")


def build_skid(settings: SkidSettings, *, version: SkidVersion) -> Recipe:
    """The nine branches with skip and dimension-reduction blocks (S09), or without any ("noblocks", S10)."""
    _require_multiple(settings.patch, 16)
    net = skid_net(settings.classes, version=version, in_slices=settings.in_slices, width=settings.width)
    return _recipe(settings, net, settings.in_slices, "skid-trunk")


def _recipe(settings: JumpatSettings, net: JigsawNet, in_slices: int, encoder_name: str) -> Recipe:
    task = JumbledPatches(settings, in_slices)
    head = nn.Sequential(net.bottleneck, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.classifier)
    # The arrangements are kept beside the weights: without them a label means nothing (B3-05).
    keep = {"arrangements": torch.from_numpy(task.arrangements)}
    return Recipe(task, LabelObjective(net.encoder, head, look=in_branches, keep=keep), encoder_name)


def _require_multiple(patch: int, stride: int) -> None:
    if patch % stride:
        raise SettingsError(
            f"patch is {patch}; this network halves it until it is 1 / {stride}: choose a multiple of {stride}"
        )


_SMALL_RUN = replace(_run(8, 200), epoch=200)

add_method(
    Method(
        name="sslacl",
        line="Jigsaw of nine patches; which of 500 arrangements, far from each other, is it?",
        source="thesis 3.4.1, Alg. 3.1 and 3.2",
        family="predictive",
        dims=2,
        settings=SslaclSettings,
        small=SslaclSettings(size=96, patch=32, classes=50, width=1 / 32, run=_SMALL_RUN),
        build=build_sslacl,
    )
)

_SKID_LINES: dict[SkidVersion, str] = {
    "v1": "Jigsaw of nine patches, 1000 arrangements; skip and reduction blocks, smallest network.",
    "v2": "Jigsaw of nine patches, 1000 arrangements; skip and reduction blocks, middle network.",
    "v3": "Jigsaw of nine patches, 1000 arrangements; skip and reduction blocks, the network used downstream.",
    "noblocks": "Jigsaw of nine patches, 1000 arrangements; the blocks left out, to show what they do.",
}

for _version, _line in _SKID_LINES.items():
    add_method(
        Method(
            name=f"skid-{_version}",
            line=_line,
            source="thesis 3.4.1, 3.5.4.3, Tables 3.1 and 3.12",
            family="predictive",
            dims=2,
            settings=SkidSettings,
            small=SkidSettings(size=96, patch=32, classes=50, width=1 / 32, run=_SMALL_RUN),
            build=partial(build_skid, version=_version),
        )
    )
