"""Questions of a pretext task: what is shown is what the task shows, and maps come back to where it lay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.jigsaw3d import CubeGrid, Jigsaw3d
from napari_medssl.pretext.questions import answers, questions
from napari_medssl.pretext.relative_location import RelativeLocation, neighbour
from napari_medssl.pretext.rotation3d import TURNS, Turns
from napari_medssl.pretext.rubik import RubiksCube
from napari_medssl.pretext.views3d import OverlappingCrops

GRID = CubeGrid((8, 8, 8), orders=5, gap=2)
TASKS = [
    (Turns((16, 16, 16)), 10),
    (Jigsaw3d(GRID), 5),
    (RubiksCube(GRID, masking=True), 5),
    (RelativeLocation((8, 8, 8), gap=2, jitter=1), 26),
]
KINDS = ["turns", "jigsaw", "rubik", "location"]


def image(shape: tuple[int, int, int] = (40, 36, 44)) -> np.ndarray:
    return np.random.default_rng(1).integers(40, 256, shape, np.uint8)


@pytest.mark.parametrize(("task", "count"), TASKS, ids=KINDS)
def test_every_label_has_its_words(task, count):
    named = answers(task)
    assert len(named) == len(set(named)) == count


@pytest.mark.parametrize(("task", "count"), TASKS, ids=KINDS)
def test_what_was_shown_comes_back_to_its_place(task, count):
    """The input itself, taken for a map, must be the scan again wherever it was shown."""
    scan = image()
    for label in (0, count // 2, count - 1):
        asked = questions(task, scan, label)
        shown = asked.inputs(range(asked.count))
        maps = shown.reshape(-1, *shown.shape[-3:])
        assert maps.shape[0] == asked.count * asked.corners.shape[1]
        placed = asked.placed(maps, scan.shape).numpy()
        seen = placed > 0
        np.testing.assert_allclose(placed[seen], scan[seen] / 255, atol=1e-5)
        assert seen.any()


def test_turns_cover_the_whole_scan_and_are_those_of_the_task():
    task, scan = Turns((16, 16, 16)), image()
    asked = questions(task, scan, 4)
    assert (asked.placed(torch.ones(asked.count, 2, 2, 2), scan.shape) > 0).all()
    axis, quarters = TURNS[4]
    corner = asked.corners[3, 0]
    crop = scan[tuple(slice(c, c + 16) for c in corner)] / np.float32(255)
    plane = tuple(i for i in range(3) if i != axis)
    np.testing.assert_allclose(asked.inputs(range(3, 4))[0, 0], np.rot90(crop, quarters, plane), atol=1e-6)


def test_cubes_are_in_the_order_of_the_label():
    scan = image()
    asked = questions(Jigsaw3d(GRID), scan, 3)
    shown = asked.inputs(range(1))[0, :, 0]
    for slot, cell in enumerate(GRID.orders[3]):
        corner = asked.corners[0, cell]
        cube = scan[tuple(slice(c, c + 8) for c in corner)] / np.float32(255)
        np.testing.assert_allclose(shown[slot], cube, atol=1e-6)


def test_the_neighbour_lies_where_the_label_says():
    asked = questions(RelativeLocation((8, 8, 8), gap=2, jitter=1), image(), 7)
    step = asked.corners[:, 1] - asked.corners[:, 0]
    assert (step == np.array(neighbour(7)) * 10).all()


def test_small_scans_are_enlarged_and_air_is_left_out():
    asked = questions(Turns((16, 16, 16)), image((8, 12, 10)), 0)
    assert asked.size == (8, 8, 8)
    assert asked.inputs(range(1)).shape == (1, 1, 16, 16, 16)
    scan = image()
    scan[20:] = 0
    corners = questions(Turns((16, 16, 16)), scan, 0).corners
    assert 0 < len(corners) < len(questions(Turns((16, 16, 16)), image(), 0).corners)
    assert corners[..., 0].max() < 20


def test_places_are_thinned_evenly():
    asked = questions(Turns((16, 16, 16)), image(), 0, most=5)
    everything = questions(Turns((16, 16, 16)), image(), 0)
    assert asked.count == 5
    assert (asked.corners[[0, -1]] == everything.corners[[0, -1]]).all()


def test_tasks_without_labels_and_unknown_labels_are_refused():
    with pytest.raises(SettingsError, match="OverlappingCrops tells no label .* take a run of rot3d"):
        answers(OverlappingCrops((16, 16, 16)))
    with pytest.raises(SettingsError, match="class 10 .* classes 0 to 9"):
        questions(Turns((16, 16, 16)), image(), 10)
