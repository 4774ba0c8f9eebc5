"""The marker that decides a pretext task is found where it lies in the patient, whatever turn or order was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.classify.explain.pretext_head import (
    PretextSettings,
    check_pretext_steps,
    explain_pretext,
    explain_pretext_steps,
    pretext_shown,
)
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.errors import SettingsError
from napari_medssl.geometry import same_grid, world_from_index
from napari_medssl.pretext.jigsaw3d import CubeGrid, Jigsaw3d
from napari_medssl.pretext.questions import questions
from napari_medssl.pretext.relative_location import RelativeLocation
from napari_medssl.pretext.rotation3d import Turns
from napari_medssl.pretext.views3d import OverlappingCrops
from napari_medssl.progress import finish
from napari_medssl.train.grid import grid_of
from napari_medssl.train.method import Recipe, find_method
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.label import LabelObjective, one_by_one
from napari_medssl.train.opened_run import OpenedRun
from napari_medssl.train.store import prepare_volume
from napari_medssl.volume import Volume

MARK = (slice(5, 7), slice(1, 5), slice(9, 13))  # off the middle along every axis; larger than the window's percentile


class Cells(nn.Module):
    """Cells of 4 voxels, lit where something is bright."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv3d(1, 2, 1)
        with torch.no_grad():
            conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1))
            conv.bias.copy_(torch.tensor([-0.6, 0.6]))
        self.cells = nn.Sequential(conv, nn.ReLU(), nn.AvgPool3d(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.cells(images)


def flat(encoder, batch):
    """Every cell by itself: where the mark lies counts."""
    name = "image" if "image" in batch else "patches"
    images = batch[name] if name == "image" else batch[name].flatten(0, 1)
    return encoder(images)[:, :1].reshape(len(batch[name]), -1)


def scan() -> Volume:
    """4 x 2 x 2 mm, oblique axes, one bright mark of 8 mm."""
    data = np.random.default_rng(0).uniform(30, 60, (8, 16, 16)).astype(np.float32)
    data[MARK] = 250
    turn = np.deg2rad(20)
    affine = np.eye(4)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    order = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])  # z y x of the array to x y z of the patient
    affine[:3, :3] = rotation @ order @ np.diag([4.0, 2.0, 2.0])
    affine[:3, 3] = (-30.0, 12.0, 5.0)
    return Volume(data, affine)


def opened(task, objective, crop: int) -> OpenedRun:
    method = find_method("rot3d")
    settings = replace(method.small, crop_z=crop, crop_y=crop, crop_x=crop, spacing_mm=2.0)
    recipe = Recipe(task, objective.eval(), "unet3d", role="encoder3d")
    return OpenedRun(Path("run/state.safetensors"), method, settings, recipe, 7, "0" * 64)


def solver(task, crop: int, volume: Volume) -> OpenedRun:
    """A run whose head knows for each class where that class brings the mark, and nothing else."""
    encoder = Cells()
    run = opened(task, LabelObjective(encoder, nn.Identity()), crop)
    image = prepare_volume(volume, grid_of(run.settings), name="scan", group="").image
    known = len(task.grid.orders) if isinstance(task, Jigsaw3d) else 10
    rows = []
    for label in range(known):
        asked = questions(task, image, label)
        with torch.no_grad():
            rows.append(flat(encoder, {asked.name: asked.inputs(range(1))})[0])
    head = nn.Linear(len(rows[0]), known, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.stack([r / r.norm() for r in rows]))
    return opened(task, LabelObjective(encoder, head, look=flat), crop)


TASKS = {
    "turns": (Turns((16, 16, 16)), 16),
    "jigsaw": (Jigsaw3d(CubeGrid((8, 8, 8), orders=6, gap=0)), 8),
}


@pytest.mark.parametrize("kind", TASKS)
def test_the_deciding_mark_is_found_for_every_class(kind):
    task, crop = TASKS[kind]
    volume = scan()
    run = solver(task, crop, volume)
    found = explain_pretext(run, volume, settings=PretextSettings(classes=6))
    assert len(found.classes) == 6
    assert same_grid(found.evidence, volume)
    assert found.evidence.data.max() == pytest.approx(1)
    place = world_from_index(volume, [(s.start + s.stop - 1) / 2 for s in MARK])
    for label, one in found.classes.items():
        assert found.right[label] == 1, "the mark decides the task"
        far = np.linalg.norm(np.asarray(one.report["peak"]["ras_mm"]) - place)
        assert far <= 8 * 3**0.5, "a cell is 8 mm wide, and its values are flat at the rim of a cube"
        assert one.evidence.data[MARK].mean() > 3 * one.evidence.data.mean()
    report = found.report
    assert (report["right"], report["steps"], report["questions"]) == (1, 7, 6)
    assert report["layer"].startswith("encoder.cells")
    assert report["solved"] is True
    assert not any("guessing" in note for note in report["notes"])


def test_random_weights_are_told_from_learned_ones():
    volume = scan()
    run = solver(*TASKS["turns"], volume)
    before = {k: v.clone() for k, v in run.recipe.objective.state_dict().items()}
    checked = finish(check_pretext_steps(run, volume, 4, seed=1))
    assert next(s.part for s in checked.steps) == "head"
    assert checked.steps[-1].part.startswith("encoder")
    assert -1 <= checked.steps[-1].rank <= 1
    assert all(torch.equal(v, before[k]) for k, v in run.recipe.objective.state_dict().items())


def test_a_network_that_guesses_is_said_to():
    torch.manual_seed(0)
    head = nn.Linear(2, 10)
    run = opened(Turns((16, 16, 16)), LabelObjective(Cells(), head), 16)
    found = explain_pretext(run, scan(), classes=[0, 3], settings=PretextSettings(places=4))
    assert any("no more than by guessing" in note for note in found.report["notes"])
    assert found.report["solved"] is False
    assert list(found.report["classes"]) == ["0", "3"]
    assert found.report["classes"]["3"]["name"] == "270 degrees about x"


def test_two_cubes_of_a_location_share_the_map():
    torch.manual_seed(0)
    task = RelativeLocation((8, 8, 8), gap=0, jitter=0)
    volume = Volume(np.pad(scan().data, ((4, 4), (8, 0), (8, 0)), constant_values=40), scan().affine)
    head = nn.Linear(4, 26)
    run = opened(task, LabelObjective(Cells(), head, look=one_by_one), 8)
    network, shown = pretext_shown(run, volume, 12)
    assert network(shown.inputs(range(1))).shape == (1, 26)
    found = explain_pretext(run, volume, classes=[12])
    assert len(found.classes[12].maps) == 2 * shown.count


def test_small_scans_are_named():
    run = opened(Turns((24, 24, 24)), LabelObjective(Cells(), nn.Linear(2, 10)), 24)
    found = explain_pretext(run, scan(), classes=[1])
    assert any("were enlarged to (24, 24, 24)" in note for note in found.report["notes"])


class Silent(Objective):
    """No scores of classes."""


def test_what_cannot_be_asked_is_refused():
    volume = scan()
    with pytest.raises(SettingsError, match="tells no label of places"):
        explain_pretext(opened(OverlappingCrops((16, 16, 16)), Silent(), 16), volume)
    with pytest.raises(SettingsError, match="Silent gives no scores of classes"):
        explain_pretext(opened(Turns((16, 16, 16)), Silent(), 16), volume)
    run = solver(*TASKS["turns"], volume)
    with pytest.raises(SettingsError, match=r"class \[99\] .* classes 0 to 9"):
        explain_pretext(run, volume, classes=[99])
    occluded = PretextSettings(explain=ExplainSettings(method="occlusion"))
    with pytest.raises(SettingsError, match="occlusion"):
        explain_pretext(solver(*TASKS["jigsaw"], volume), volume, classes=[0], settings=occluded)


def test_closing_the_work_leaves_the_network_as_it_was():
    volume = scan()
    run = solver(*TASKS["turns"], volume)
    steps = explain_pretext_steps(run, volume)
    for _ in range(4):
        next(steps)
    steps.close()
    assert all(not m._forward_hooks for m in run.recipe.objective.modules())
