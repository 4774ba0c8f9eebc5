"""Order, turns and masks of cubes at once: Rubik's cube and Rubik's cube+."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.pretext.jigsaw3d import CubeGrid
from napari_medssl.pretext.patches import arrange
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example

_MASKED_CUBES = 0.5


class RubiksCube:
    """A 3D jigsaw of which a third of the cubes is turned by 180 degrees about x, a third about z, and a third is not.

    masking: each cube is also masked with probability 0.5, inside it each voxel with probability 0.5 (B2-06).

    An example: "cubes" (N, Z, Y, X) uint8 in their true places and unturned, "label" and "order" as in `Jigsaw3d`,
    "turn" (N,) int64 in 0..2 (none, about x, about z) of each place; with masking also "masked" (N,) uint8 of each
    place and "seen" (N, Z, Y, X / 8) uint8, eight voxels to a byte.
    A batch: "patches" (B, N, 1, Z, Y, X), "label" (B,), "order", and the labels of each place as (B, N) float32 0 or 1:
    "turned_x" (the paper's hor), "turned_z" (its ver), with masking "masked".

    Source: Zhuang et al., 2019, and Zhu et al., 2020; paper 002, Eq. 4-8 (S71, S72). The paper's text swaps the names
    of its two turns; here, as in its code, "horizontal" is about x, "vertical" about z (B2-03), and no cube has both.
    """

    def __init__(self, grid: CubeGrid, *, masking: bool = False) -> None:
        self.grid, self.masking = grid, masking

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        cubes = self.grid.draw(pick_scan(scans, rng), rng)
        drawn = {"cubes": torch.from_numpy(cubes), **self.grid.draw_order(rng)}
        drawn["turn"] = torch.from_numpy(rng.integers(3, size=len(cubes)))
        if self.masking:
            masked = rng.random(len(cubes)) < _MASKED_CUBES
            bits = np.frombuffer(rng.bytes(cubes.size // 8), np.uint8).reshape(*cubes.shape[:-1], -1)
            seen = np.where(masked[:, None, None, None], bits, np.uint8(255))
            drawn |= {"masked": torch.from_numpy(masked.astype(np.uint8)), "seen": torch.from_numpy(seen)}
        return drawn

    def prepare(self, batch: Example) -> Example:
        cubes = turned(arrange(to_float(batch["cubes"]), batch["order"]), batch["turn"])
        labels = {"label": batch["label"], "order": batch["order"]}
        labels |= {"turned_x": (batch["turn"] == 1).float(), "turned_z": (batch["turn"] == 2).float()}
        if self.masking:
            cubes = cubes * unpacked(batch["seen"])
            labels["masked"] = batch["masked"].float()
        return {"patches": cubes[:, :, None], **labels}


def turned(cubes: Tensor, turn: Tensor) -> Tensor:
    """(B, N, Z, Y, X) cubes turned by 180 degrees about x where (B, N) `turn` is 1, about z where it is 2.

    Half turns keep the shape of any box, and undo themselves.
    """
    kind = turn[:, :, None, None, None]
    about_x = torch.where(kind == 1, cubes.flip(2, 3), cubes)
    return torch.where(kind == 2, cubes.flip(3, 4), about_x)


def unpacked(packed: Tensor) -> Tensor:
    """(..., X / 8) bytes to (..., X) float32 of 0 and 1, the highest bit first."""
    bits = packed[..., None] >> torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8) & 1
    return bits.flatten(-2).float()
