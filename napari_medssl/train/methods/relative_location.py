"""Relative patch location in 3D."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from napari_medssl.models.heads import mlp
from napari_medssl.models.joined_patches import JoinedPatches
from napari_medssl.pretext.relative_location import N_NEIGHBOURS, RelativeLocation
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.objectives.label import LabelObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings
from napari_medssl.train.volume_settings import ENCODER, VolumeSettings, volume_encoder

_HIDDEN = 1024

_ADAM = OptimSettings("adam", learning_rate=1e-3, schedule="steps", decay=0.1, decay_every=250, weight_decay=0.0)


@dataclass(frozen=True)
class RelativeLocationSettings(VolumeSettings):
    """Settings of rpl; the defaults are the paper's RPL-48, whose grid of 3 x 3 x 3 cubes fits a body scan at 2 mm."""

    crop_y: int = setting(48, "Voxels of a cube along y; a multiple of 8.", ge=8, le=512)
    crop_x: int = setting(48, "Voxels of a cube along x; a multiple of 8.", ge=8, le=512)
    gap: int = setting(3, "Voxels between neighbouring cubes.", ge=0, le=64)
    jitter: int = setting(1, "Largest shift of a cube along each axis; at most half the gap.", ge=0, le=32)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=16, optim=_ADAM))


INPUTS = {
    "RPL-48": RelativeLocationSettings(crop_z=32, crop_y=48, crop_x=48),
    "RPL-64": RelativeLocationSettings(crop_z=32, crop_y=64, crop_x=64),
    "RPL-96": RelativeLocationSettings(crop_z=32, crop_y=96, crop_x=96),  # printed 94 x 96 x 32 (B2-09)
}
"""The inputs of the paper's study of sizes (Table 5, S83), which made little difference to this method."""

_SMALL = RelativeLocationSettings(
    crop_z=16, crop_y=16, crop_x=16, width=0.125, run=RunSettings(steps=200, batch=8, optim=_ADAM)
)


def _build(settings: RelativeLocationSettings) -> Recipe:
    encoder = volume_encoder(settings)
    joined = JoinedPatches(2, encoder.channels)
    head = nn.Sequential(joined, mlp([joined.width, _HIDDEN, N_NEIGHBOURS], norm=False))
    task = RelativeLocation(settings.crop, gap=settings.gap, jitter=settings.jitter)
    return Recipe(task, LabelObjective(encoder, head), ENCODER, role="encoder3d")


add_method(
    Method(
        name="rpl",
        line="Tells on which of 26 sides of a cube another cube lies.",
        source="paper 002, Eq. 2 (RPL); Doersch et al. 2015; Taleb et al. 2020",
        family="predictive",
        dims=3,
        settings=RelativeLocationSettings,
        small=_SMALL,
        build=_build,
    )
)
