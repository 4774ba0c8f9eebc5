"""A pretext task asked systematically: one label at many places of a scan, and the way back from what was shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import BODY_SHARE, Size, body_share, cut, enlarged, fitting, shrunk
from napari_medssl.pretext.jigsaw3d import CubeGrid, Jigsaw3d
from napari_medssl.pretext.patches import arrange, unjumble
from napari_medssl.pretext.relative_location import N_NEIGHBOURS, RelativeLocation, neighbour
from napari_medssl.pretext.rotation3d import TURNS, Turns, turn_back
from napari_medssl.pretext.rubik import RubiksCube
from napari_medssl.pretext.scan import to_float

_AXES = "zyx"


@dataclass(frozen=True, eq=False)
class Questions:
    """One label asked at several places of one scan.

    name: of the tensor in the task's batch, "image" or "patches". count: number of questions.
    inputs: (n, ...) float32 in [0, 1] of some of them, as the objective takes batch[name].
    corners: (count, boxes, 3) lowest voxel along z, y, x of what each question shows, size: (z, y, x) voxels of a box.
    back: (n, boxes, *cells) maps in the order and orientation they were shown to those of `corners` in the scan.
    """

    name: str
    count: int
    inputs: Callable[[range], Tensor]
    corners: npt.NDArray[np.intp]
    size: Size
    back: Callable[[Tensor], Tensor]

    def placed(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Maps (count * boxes, *cells) as they were shown, to (Z, Y, X) float32 on the scan's voxels.

        Where boxes overlap each counts less towards its rim, so that no seams show; voxels in no box are 0. Trilinear
        between cells.
        """
        boxes = self.corners.shape[1]
        natural = self.back(maps.view(self.count, boxes, *maps.shape[1:])).flatten(0, 1)
        total, times = torch.zeros(tuple(shape)), torch.zeros(tuple(shape))
        weight = _tapered(self.size)
        for one, corner in zip(natural, self.corners.reshape(-1, 3).tolist(), strict=True):
            large = F.interpolate(one[None, None].float(), self.size, mode="trilinear", align_corners=False)[0, 0]
            spans = list(zip(corner, self.size, shape, strict=True))
            inside = tuple(slice(max(0, c), min(n, c + s)) for c, s, n in spans)
            kept = tuple(slice(max(0, -c), min(s, n - c)) for c, s, n in spans)
            total[inside] += (weight * large)[kept]
            times[inside] += weight[kept]
        return torch.where(times > 0, total / times.clamp(min=1e-12), 0.0)


def _tapered(size: Size) -> Tensor:
    """Weights of a box: 1 in its middle, falling linearly along each axis to a small one at its rim."""
    ramps = [1 - 0.98 * torch.linspace(-1, 1, s).abs() if s > 1 else torch.ones(1) for s in size]
    z, y, x = ramps
    return z[:, None, None] * y[None, :, None] * x


def answers(task: Any) -> list[str]:
    """What the labels of a task mean, in words, label by label.

    Raises SettingsError for tasks without labels at places of a volume.
    """
    return _answers(task)


def questions(task: Any, image: npt.NDArray[np.uint8], label: int, *, most: int = 128) -> Questions:
    """The question whose answer is `label`, asked all over a scan.

    task: of rot3d, jigsaw3d, rubik, rubik-plus or rpl. image: (Z, Y, X) uint8 on the task's grid. most: places; evenly
    thinned when there are more.

    Places overlap by half along each axis and hold at least a tenth of body where any does. Nothing is drawn: cubes lie
    in the middle of their cells, no cube of a Rubik's cube is turned or masked. Scans smaller than what the task cuts
    are enlarged as in training. Raises SettingsError for other tasks and for labels the task does not have.
    """
    known = len(answers(task))
    if not 0 <= label < known:
        raise SettingsError(f"class {label} was asked for; this task has classes 0 to {known - 1}")
    return _questions(task, image, label, most)


@functools.singledispatch
def _answers(task: Any) -> list[str]:
    raise SettingsError(
        f"{type(task).__name__} tells no label of places in a volume, so there is no class to look for; "
        "take a run of rot3d, jigsaw3d, rubik, rubik-plus or rpl"
    )


@_answers.register
def _(task: Turns) -> list[str]:
    return [f"{90 * quarters} degrees about {_AXES[axis]}" if quarters else "not turned" for axis, quarters in TURNS]


@_answers.register(Jigsaw3d)
@_answers.register(RubiksCube)
def _(task: Jigsaw3d | RubiksCube) -> list[str]:
    return [f"order {' '.join(map(str, order))}" for order in task.grid.orders.tolist()]


@_answers.register
def _(task: RelativeLocation) -> list[str]:
    found = []
    for label in range(N_NEIGHBOURS):
        steps = [f"{_AXES[i]}{'+' if s > 0 else '-'}" for i, s in enumerate(neighbour(label)) if s]
        found.append(f"neighbour {' '.join(steps)}")
    return found


@functools.singledispatch
def _questions(task: Any, image: npt.NDArray[np.uint8], label: int, most: int) -> Questions:
    raise NotImplementedError  # `answers` has refused such tasks


@_questions.register
def _(task: Turns, image: npt.NDArray[np.uint8], label: int, most: int) -> Questions:
    size = shrunk(task.crop, fitting(task.crop, image.shape))
    corners = _places(image, size, most)

    def inputs(items: range) -> Tensor:
        crops = np.stack([enlarged(cut(image, _size(corners[i]), size), task.crop) for i in items])
        batch = {"crop": torch.from_numpy(crops), "label": torch.full((len(items),), label)}
        return task.prepare(batch)["image"]

    def back(maps: Tensor) -> Tensor:
        return turn_back(maps, torch.full((len(maps),), label))

    return Questions("image", len(corners), inputs, corners[:, None], size, back)


@_questions.register(Jigsaw3d)
@_questions.register(RubiksCube)
def _(task: Jigsaw3d | RubiksCube, image: npt.NDArray[np.uint8], label: int, most: int) -> Questions:
    grid: CubeGrid = task.grid
    z, y, x = (int(n) for n in grid.n * (np.array(grid.cube) + grid.gap))
    factor = fitting((z, y, x), image.shape)
    cube, gap = shrunk(grid.cube, factor), int(grid.gap * factor)
    cell = np.array(cube) + gap
    within = np.indices((grid.n,) * 3).reshape(3, -1).T * cell + gap // 2
    corners = _places(image, _size(grid.n * cell), most)[:, None] + within
    order = torch.from_numpy(grid.orders[label])

    def inputs(items: range) -> Tensor:
        cubes = torch.from_numpy(np.stack([_cubes(image, corners[i], cube, grid.cube) for i in items]))
        return arrange(to_float(cubes), order.expand(len(items), -1))[:, :, None]

    def back(maps: Tensor) -> Tensor:
        return unjumble(maps, order.expand(len(maps), -1))

    return Questions("patches", len(corners), inputs, corners, cube, back)


@_questions.register
def _(task: RelativeLocation, image: npt.NDArray[np.uint8], label: int, most: int) -> Questions:
    z, y, x = (int(n) for n in 3 * np.array(task.cube) + 2 * task.gap)
    factor = fitting((z, y, x), image.shape)
    cube, gap = shrunk(task.cube, factor), int(task.gap * factor)
    pitch = np.array(cube) + gap
    centres = _places(image, _size(3 * np.array(cube) + 2 * gap), most) + pitch
    corners = np.stack([centres, centres + np.array(neighbour(label)) * pitch], 1)

    def inputs(items: range) -> Tensor:
        cubes = np.stack([_cubes(image, corners[i], cube, task.cube) for i in items])
        return to_float(torch.from_numpy(cubes))[:, :, None]

    return Questions("patches", len(corners), inputs, corners, cube, lambda maps: maps)


def _cubes(image: npt.NDArray[np.uint8], corners: npt.NDArray[np.intp], cube: Size, wanted: Size) -> np.ndarray:
    return np.stack([enlarged(cut(image, _size(corner), cube), wanted) for corner in corners])


def _places(image: npt.NDArray[np.uint8], size: Size, most: int) -> npt.NDArray[np.intp]:
    """(N, 3) corners of boxes that cover the image, each overlapping the next by half or more, over body."""
    axes = []
    for n, s in zip(image.shape, size, strict=True):
        room = max(0, n - s)
        axes.append(np.linspace(0, room, -(-room // max(1, s // 2)) + 1).round().astype(np.intp))
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    body = np.array([body_share(image, _size(c), size) >= BODY_SHARE for c in corners])
    kept = corners[body] if body.any() else corners
    return kept[np.linspace(0, len(kept) - 1, min(most, len(kept))).round().astype(np.intp)]


def _size(values: npt.NDArray[Any]) -> Size:
    z, y, x = (int(v) for v in values)
    return z, y, x
