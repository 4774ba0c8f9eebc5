"""Rotation prediction in 3D."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.heads import mlp
from napari_medssl.pretext.rotation3d import TURNS, Turns
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.label import LabelObjective
from napari_medssl.train.optimisers import BENCHMARK_3D
from napari_medssl.train.run_settings import RunSettings

_HIDDEN = 1024


@dataclass(frozen=True)
class Rotation3dSettings(VolumeSettings):
    """Settings of rot3d; the defaults are the paper's ROT-64."""

    crop_z: int = setting(64, "Voxels along z that are cut out; a multiple of 8.", ge=8, le=512)
    cube: int = setting(0, "Side of the cube a crop is resized to; 0: the crop's longest side.", ge=0, le=512)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=8, optim=BENCHMARK_3D))


INPUTS = {
    "ROT-48": Rotation3dSettings(crop_z=32, crop_y=48, crop_x=48),
    "ROT-64": Rotation3dSettings(crop_z=64, crop_y=64, crop_x=64),
    "ROT-128": Rotation3dSettings(crop_z=64, crop_y=128, crop_x=128),
}
"""The inputs of the paper's study of sizes (Table 5, S83): the size of the target task's input transferred best."""

_SMALL = small_volumes(Rotation3dSettings(), crop=(24, 24, 24))


def _build(settings: Rotation3dSettings) -> Recipe:
    encoder = volume_encoder(settings)
    head = mlp([encoder.channels, _HIDDEN, len(TURNS)], norm=False)
    return volume_recipe(Turns(settings.crop, cube=settings.cube), LabelObjective(encoder, head))


add_method(
    Method(
        name="rot3d",
        line="Tells which of ten turns a crop was given.",
        source="paper 002, Eq. 1 (ROT); Komodakis and Gidaris 2018; Taleb et al. 2020",
        family="predictive",
        dims=3,
        settings=Rotation3dSettings,
        small=_SMALL,
        build=_build,
    )
)
