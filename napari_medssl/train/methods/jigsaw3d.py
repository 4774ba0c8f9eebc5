"""Puzzles of cubes: 3D jigsaw, Rubik's cube and Rubik's cube+."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from napari_medssl.models.heads import mlp
from napari_medssl.models.joined_patches import JoinedPatches
from napari_medssl.pretext.jigsaw3d import CubeGrid, Jigsaw3d
from napari_medssl.pretext.rubik import RubiksCube
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.label import LabelObjective
from napari_medssl.train.objectives.rubik import RubikObjective
from napari_medssl.train.optimisers import BENCHMARK_3D
from napari_medssl.train.run_settings import RunSettings

_HIDDEN = 1024


@dataclass(frozen=True)
class Jigsaw3dSettings(VolumeSettings):
    """Settings of jigsaw3d; the crop is one cube. The paper cuts 320 x 320 x 74 voxels, cubes of 160 x 160 x 37."""

    crop_y: int = setting(48, "Voxels of a cube along y; a multiple of 8.", ge=8, le=512)
    crop_x: int = setting(48, "Voxels of a cube along x; a multiple of 8.", ge=8, le=512)
    n: int = setting(2, "Cubes along each axis.", ge=2, le=4)
    orders: int = setting(100, "Orders to tell apart (K).", ge=2, le=10000)
    orders_seed: int = setting(0, "Seed of the set of orders.", ge=0, advanced=True)
    gap: int = setting(3, "Voxels by which a cube may move in its cell of the grid.", ge=0, le=64)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=8, optim=BENCHMARK_3D))

    def grid(self) -> CubeGrid:
        """The puzzle's cells and orders."""
        return CubeGrid(self.crop, n=self.n, orders=self.orders, gap=self.gap, seed=self.orders_seed)


@dataclass(frozen=True)
class RubikSettings(Jigsaw3dSettings):
    """Settings of rubik and rubik-plus. The paper does not give its weights; 1 each is its code's (B2-05)."""

    order_weight: float = setting(1.0, "Weight of the order (alpha).", ge=0.0, le=1000.0)
    turn_weight: float = setting(1.0, "Weight of the turns (beta).", ge=0.0, le=1000.0)
    mask_weight: float = setting(1.0, "Weight of the masks (gamma; rubik-plus alone).", ge=0.0, le=1000.0)


_SMALL = small_volumes(Jigsaw3dSettings(), crop=(16, 16, 16), orders=20)
_SMALL_RUBIK = small_volumes(RubikSettings(), crop=(16, 16, 16), orders=20)


def _jigsaw(settings: Jigsaw3dSettings) -> Recipe:
    encoder, grid = volume_encoder(settings), settings.grid()
    orders = torch.from_numpy(grid.orders)
    joined = JoinedPatches(orders.shape[1], encoder.channels)
    head = nn.Sequential(joined, mlp([joined.width, _HIDDEN, _HIDDEN, len(orders)], norm=False))
    objective = LabelObjective(encoder, head, keep={"orders": orders})
    return volume_recipe(Jigsaw3d(grid), objective)


def _rubik(settings: RubikSettings) -> Recipe:
    return _cube(settings, masking=False)


def _rubik_plus(settings: RubikSettings) -> Recipe:
    return _cube(settings, masking=True)


def _cube(settings: RubikSettings, *, masking: bool) -> Recipe:
    encoder, grid = volume_encoder(settings), settings.grid()
    flags = {"turned_x": settings.turn_weight, "turned_z": settings.turn_weight}
    if masking:
        flags["masked"] = settings.mask_weight
    orders = torch.from_numpy(grid.orders)
    objective = RubikObjective(encoder, encoder.channels, orders, flags=flags, order_weight=settings.order_weight)
    return volume_recipe(RubiksCube(grid, masking=masking), objective)


add_method(
    Method(
        name="jigsaw3d",
        line="Tells in which of 100 orders the eight cubes of a crop were shuffled.",
        source="paper 002, Eq. 3 (Jigsaw); Noroozi and Favaro 2016; Taleb et al. 2020",
        family="predictive",
        dims=3,
        settings=Jigsaw3dSettings,
        small=_SMALL,
        build=_jigsaw,
    )
)
add_method(
    Method(
        name="rubik",
        line="Tells the order of eight cubes, and which of them were turned upside down.",
        source="paper 002, Eq. 4-6 (RKB); Zhuang et al. 2019",
        family="predictive",
        dims=3,
        settings=RubikSettings,
        small=_SMALL_RUBIK,
        build=_rubik,
    )
)
add_method(
    Method(
        name="rubik-plus",
        line="As rubik, with half of the cubes masked, which is to be told, too.",
        source="paper 002, Eq. 7 and 8 (RKB+); Zhu et al. 2020",
        family="predictive",
        dims=3,
        settings=RubikSettings,
        small=_SMALL_RUBIK,
        build=_rubik_plus,
    )
)
