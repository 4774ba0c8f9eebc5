"""Relative patch location in 3D."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from napari_medssl.models.heads import mlp
from napari_medssl.models.joined_patches import JoinedPatches
from napari_medssl.pretext.relative_location import N_NEIGHBOURS, RelativeLocation
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.label import LabelObjective
from napari_medssl.train.optimisers import BENCHMARK_3D
from napari_medssl.train.run_settings import RunSettings

_HIDDEN = 1024


@dataclass(frozen=True)
class RelativeLocationSettings(VolumeSettings):
    """Settings of rpl; the defaults are the paper's RPL-48, whose grid of 3 x 3 x 3 cubes fits a body scan at 2 mm."""

    crop_y: int = setting(48, "Voxels of a cube along y; a multiple of 8.", ge=8, le=512)
    crop_x: int = setting(48, "Voxels of a cube along x; a multiple of 8.", ge=8, le=512)
    gap: int = setting(3, "Voxels between neighbouring cubes.", ge=0, le=64)
    jitter: int = setting(1, "Largest shift of a cube along each axis; at most half the gap.", ge=0, le=32)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=16, optim=BENCHMARK_3D))


INPUTS = {
    "RPL-48": RelativeLocationSettings(crop_z=32, crop_y=48, crop_x=48),
    "RPL-64": RelativeLocationSettings(crop_z=32, crop_y=64, crop_x=64),
    "RPL-96": RelativeLocationSettings(crop_z=32, crop_y=96, crop_x=96),  # printed 94 x 96 x 32 (B2-09)
}
"""The inputs of the paper's study of sizes (Table 5, S83), which made little difference to this method."""

_SMALL = small_volumes(RelativeLocationSettings(), crop=(16, 16, 16))


def _build(settings: RelativeLocationSettings) -> Recipe:
    encoder = volume_encoder(settings)
    joined = JoinedPatches(2, encoder.channels)
    head = nn.Sequential(joined, mlp([joined.width, _HIDDEN, N_NEIGHBOURS], norm=False))
    task = RelativeLocation(settings.crop, gap=settings.gap, jitter=settings.jitter)
    return volume_recipe(task, LabelObjective(encoder, head))


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
