"""On which side of one cube does another lie? Relative location in 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, cut, draw_corner, enlarged, fitting, shrunk
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example

N_NEIGHBOURS = 26
_CENTRE = 13  # of the 27 cells of a 3 x 3 x 3 grid, counted along x fastest


def neighbour(label: int) -> tuple[int, int, int]:
    """Where the neighbour of this label lies: -1, 0 or 1 cells along z, y and x from the centre.

    >>> neighbour(0), neighbour(25)
    ((-1, -1, -1), (1, 1, 1))
    """
    cell = label + (label >= _CENTRE)
    return cell // 9 - 1, cell // 3 % 3 - 1, cell % 3 - 1


class RelativeLocation:
    """The centre of a 3 x 3 x 3 grid of cubes and one of its 26 neighbours.

    cube: voxels of a cube along z, y, x. gap: voxels between neighbouring cubes. jitter: each of the two cubes is
    shifted by up to so many voxels along each axis; at most half the gap, so that cubes never touch: continuous edges
    would tell the place.

    The whole grid is placed in the scan first, whatever the neighbour, so that the place of the centre says nothing
    about the label. Where the scan is smaller than the grid, smaller cubes are cut, with smaller gaps, and enlarged
    (ours): if outer cubes reached into padding, its side would tell the label.

    An example: "cubes" (2, Z, Y, X) uint8, centre then neighbour, "label" int64 in 0..25, "corners" (2, 3) int64 of the
    cubes in the scan. A batch: "patches" (B, 2, 1, Z, Y, X) and "label" (B,).

    Source: Doersch et al., 2015; in 3D Taleb et al., 2020; paper 002, Eq. 2 (S69). The gap of 3 voxels is the paper's
    public code; that each cube is jittered by 1 is ours.
    """

    def __init__(self, cube: Size, *, gap: int = 3, jitter: int = 1) -> None:
        check_size("crop", cube)
        if jitter < 0 or 2 * jitter > gap:
            raise SettingsError(
                f"jitter is {jitter} with a gap of {gap}; it must be 0 to half the gap, or cubes overlap"
            )
        self.cube, self.gap, self.jitter = cube, gap, jitter

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        image = pick_scan(scans, rng).image
        label = int(rng.integers(N_NEIGHBOURS))
        z, y, x = 3 * np.array(self.cube) + 2 * (self.gap + self.jitter)  # with room for the outermost to move
        factor = fitting((int(z), int(y), int(x)), image.shape)
        cube, gap, jitter = shrunk(self.cube, factor), int(self.gap * factor), int(self.jitter * factor)
        pitch = np.array(cube) + gap
        z, y, x = 3 * np.array(cube) + 2 * (gap + jitter)
        centre = np.array(draw_corner(image, (int(z), int(y), int(x)), rng)) + jitter + pitch
        corners = np.stack([centre, centre + np.array(neighbour(label)) * pitch])
        corners += rng.integers(-jitter, jitter + 1, (2, 3))
        cubes = np.stack([enlarged(cut(image, (int(z), int(y), int(x)), cube), self.cube) for z, y, x in corners])
        return {
            "cubes": torch.from_numpy(cubes),
            "label": torch.tensor(label),
            "corners": torch.from_numpy(corners.astype(np.int64)),
        }

    def prepare(self, batch: Example) -> Example:
        return {"patches": to_float(batch["cubes"])[:, :, None], "label": batch["label"]}
