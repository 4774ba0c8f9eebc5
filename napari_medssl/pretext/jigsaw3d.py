"""In which of K orders were the cubes of a crop shuffled? Jigsaw puzzles in 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.arrangements import max_hamming_set
from napari_medssl.pretext.crops3d import Size, check_size, cut, draw_corner, enlarged, fitting, shrunk
from napari_medssl.pretext.patches import arrange
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example


class CubeGrid:
    """Cubes on a grid of n x n x n cells, in one of a fixed set of orders; what the puzzles of this package share.

    cube: voxels of a cube along z, y, x. n: cells along each axis. orders: size K of the set. gap: voxels by which a
    cell is longer than its cube along each axis; the cube lies anywhere in it, so that edges do not continue from
    cube to cube. seed: of the set, which belongs to the task, as the classes of any classifier do.

    orders: (K, n^3) int64; row k says which cell each place shows. Raises SettingsError when the numbers do not fit.
    """

    def __init__(self, cube: Size, *, n: int = 2, orders: int = 100, gap: int = 3, seed: int = 0) -> None:
        check_size("crop", cube)
        if n < 2 or gap < 0:
            raise SettingsError(f"the grid has n = {n} and a gap of {gap}; n must be at least 2 and the gap at least 0")
        self.cube, self.n, self.gap = cube, n, gap
        self.orders = np.asarray(max_hamming_set(n**3, orders, np.random.default_rng(seed)), np.int64)

    def draw(self, scan: Scan, rng: np.random.Generator) -> np.ndarray:
        """(n^3, Z, Y, X) uint8 cubes in their true places, x fastest, of a grid anywhere in the scan.

        Where the scan is smaller than the grid, smaller cubes are cut, with smaller gaps, and enlarged: padding on the
        outer sides of the cubes would tell their places (ours).
        """
        z, y, x = self.n * (np.array(self.cube) + self.gap)
        factor = fitting((int(z), int(y), int(x)), scan.shape)
        cube, gap = shrunk(self.cube, factor), int(self.gap * factor)
        cell = np.array(cube) + gap
        z, y, x = self.n * cell
        corner = draw_corner(scan.image, (int(z), int(y), int(x)), rng)
        places = np.indices((self.n,) * 3).reshape(3, -1).T * cell + corner
        places += rng.integers(gap + 1, size=places.shape)
        return np.stack([enlarged(cut(scan.image, (int(z), int(y), int(x)), cube), self.cube) for z, y, x in places])

    def draw_order(self, rng: np.random.Generator) -> Example:
        """ "label": scalar int64 in 0..K-1, and "order": (n^3,) int64 of that class."""
        label = int(rng.integers(len(self.orders)))
        return {"label": torch.tensor(label), "order": torch.from_numpy(self.orders[label])}


class Jigsaw3d:
    """Cubes of a crop in one of K orders, which is to be told.

    An example: "cubes" (n^3, Z, Y, X) uint8 in their true places, "label" and "order" of `CubeGrid.draw_order`.
    A batch: "patches" (B, n^3, 1, Z, Y, X) shuffled, "label" (B,) and "order".

    Source: Noroozi & Favaro, 2016; in 3D Taleb et al., 2020; paper 002, Eq. 3 (S70), with n = 2 and K = 100 (B2-07).
    The paper's code cuts the middle of each scan; here the grid lies anywhere. The gap between cubes is that of the
    relative location task, without which continuous edges solve the puzzle (ours).
    """

    def __init__(self, grid: CubeGrid) -> None:
        self.grid = grid

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        cubes = self.grid.draw(pick_scan(scans, rng), rng)
        return {"cubes": torch.from_numpy(cubes), **self.grid.draw_order(rng)}

    def prepare(self, batch: Example) -> Example:
        cubes = arrange(to_float(batch["cubes"]), batch["order"])
        return {"patches": cubes[:, :, None], "label": batch["label"], "order": batch["order"]}
