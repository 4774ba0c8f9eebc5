"""Contrastive learning of voxels."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.unet3d import Norm
from napari_medssl.pretext.voxel_pairs import VoxelPairs
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.voxel_contrast import VoxelContrastObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings

_ADAMW = OptimSettings("adamw", learning_rate=1e-3, schedule="one-cycle")


@dataclass(frozen=True)
class VoxelContrastSettings(VolumeSettings):
    """Settings of voxel-contrast; all numbers are ours."""

    norm: Norm = setting("group", "Normalisation; a batch holds few scans.")
    pairs: int = setting(2, "Pairs of overlapping crops of each scan.", ge=1, le=64)
    points: int = setting(128, "Places of each pair that are looked for in its other crop.", ge=2, le=4096)
    min_iou: float = setting(0.2, "Least overlap of the two crops, intersection over union.", ge=0.0, le=0.99)
    near_mm: float = setting(8.0, "Places nearer than this are not told apart.", ge=0.0, le=1000.0)
    temperature: float = setting(0.1, "What cosine similarities are divided by.", ge=0.001, le=10.0)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=4, optim=_ADAMW))


_SMALL = small_volumes(VoxelContrastSettings(), crop=(16, 24, 24), batch=4, points=32)


def _build(settings: VoxelContrastSettings) -> Recipe:
    task = VoxelPairs(settings.crop, pairs=settings.pairs, points=settings.points, min_iou=settings.min_iou)
    objective = VoxelContrastObjective(
        volume_encoder(settings), temperature=settings.temperature, near_mm=settings.near_mm
    )
    return volume_recipe(task, objective)


add_method(
    Method(
        name="voxel-contrast",
        line="Finds a voxel of a crop in an overlapping crop that looks different.",
        source="Pinheiro et al. 2020 (VADeR); Yan et al. 2022 (SAM); Goncharov et al. 2023 (vox2vec)",
        family="contrastive",
        dims=3,
        settings=VoxelContrastSettings,
        small=_SMALL,
        build=_build,
    )
)
