"""The audit: a leak through zero-filled borders is flagged, a task solved by its centre is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.pretext.geometric import GeometricChange, GeometricSettings
from napari_medssl.pretext.jumpat import JumbledPatches, JumpatSettings
from napari_medssl.pretext.move_choice import label_of
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.shortcut import ShortcutReport, audit_shortcuts, show_border, show_centre
from napari_medssl.pretext.task import Example, Task

SIZE = 40


class Net(nn.Module):
    """A small network with answers for four classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(400, 4),
        )  # fmt: skip

    def logits(self, batch: Example) -> Tensor:
        answers: Tensor = self.layers(batch["image"] - 0.5)
        return answers


class Shifts:
    """The four pure shifts of the geometric task, of slices on which nothing tells where they were."""

    moves = np.array([[0, -4, 0, 1], [0, 4, 0, 1], [0, 0, -4, 1], [0, 0, 4, 1]])

    def __init__(self, settings: GeometricSettings) -> None:
        self._task = GeometricChange(settings)
        self._labels = torch.from_numpy(label_of(self.moves, SIZE))

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        return {**self._task.draw(scans, rng), "label": torch.tensor(int(rng.integers(4)))}

    def prepare(self, batch: Example) -> Example:
        image = self._task.prepare({**batch, "label": self._labels[batch["label"]]})["image"]
        return {"image": image, "label": batch["label"]}


class Squares:
    """In which quarter of the middle is the bright square?"""

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        image, label = rng.random((1, SIZE, SIZE), dtype=np.float32) * 0.5, int(rng.integers(4))
        y, x = 12 + 10 * (label // 2), 12 + 10 * (label % 2)
        image[:, y : y + 6, x : x + 6] += 0.5
        return {"image": torch.from_numpy(image), "label": torch.tensor(label)}

    def prepare(self, batch: Example) -> Example:
        return batch


def noise() -> list[Scan]:
    image = np.random.default_rng(1).integers(60, 256, (40, SIZE, SIZE), dtype=np.uint8)
    return [Scan(image, None, (1.0, 1.0, 1.0), "scan.nii", "group", "subject")]


def trained(task: Task, steps: int = 60) -> Net:
    net = Net()
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(steps):
        drawn = [task.draw(noise(), np.random.default_rng([9, step, n])) for n in range(16)]
        batch = task.prepare({name: torch.stack([d[name] for d in drawn]) for name in drawn[0]})
        optimiser.zero_grad()
        loss: Any = nn.functional.cross_entropy(net.logits(batch), batch["label"])
        loss.backward()
        optimiser.step()
    return net


def test_voids_that_betray_the_shift_are_flagged() -> None:
    task = Shifts(GeometricSettings(size=SIZE, keep=1.0, fill="zeros"))
    report = audit_shortcuts(trained(task), task, noise(), examples=64)
    assert report.full > 0.9
    assert report.leak
    assert report.kept_by_borders > 0.5 > report.kept_by_centres
    assert report.sentence.startswith("Shortcut: borders alone give")


def test_without_voids_the_same_task_has_nothing_to_read() -> None:
    task = Shifts(GeometricSettings(size=SIZE))
    report = audit_shortcuts(trained(task), task, noise(), examples=64)
    assert not report.learned
    assert not report.leak
    assert "train it longer" in report.sentence


def test_a_task_solved_by_its_centre_is_not_flagged() -> None:
    task = Squares()
    net = trained(task).train()
    report = audit_shortcuts(net, task, [], examples=64)
    assert net.training  # left as it was
    assert report.full > 0.9
    assert report.kept_by_centres > 0.8
    assert not report.leak
    assert report.sentence.startswith("No shortcut")
    assert report == audit_shortcuts(net, task, [], examples=64, batch=10)


def test_borders_and_centres_complete_each_other() -> None:
    images = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    border, centre = show_border(images, 0.1), show_centre(images, 0.1)
    assert torch.equal(centre[..., 2:18, 3:27], images[..., 2:18, 3:27])
    assert torch.equal(border[..., :2, :], images[..., :2, :])
    inside = border[0, 0, 2:18, 3:27]
    assert float(inside.std()) < 1e-6
    assert float(inside[0, 0]) == pytest.approx(float(border[0, 0].mean()), abs=1e-4)
    volumes = torch.rand(2, 8, 1, 6, 6, 6)
    assert show_border(volumes, 0.1, leading=3).shape == volumes.shape
    hidden = show_border(volumes, 0.1, leading=3)[..., 1:5, 1:5, 1:5].flatten(3)
    assert float(hidden.std(3).max()) < 1e-6
    assert float(hidden.std(1).min()) > 1e-4  # each cube has its own mean


def test_puzzles_are_audited_patch_by_patch() -> None:
    class Seen:
        """Answers by the mean of what it is shown of the middle of the patches."""

        def __init__(self) -> None:
            self.shown: list[Tensor] = []

        def logits(self, batch: Example) -> Tensor:
            self.shown.append(batch["patches"])
            return torch.zeros(len(batch["label"]), 20)

    seen = Seen()
    task = JumbledPatches(JumpatSettings(size=SIZE, patch=10, classes=20))
    report = audit_shortcuts(seen, task, noise(), examples=4)
    assert report.chance == pytest.approx(1 / 20)
    full, border, centre = seen.shown
    assert torch.equal(border[..., 0, :], full[..., 0, :])
    assert torch.equal(centre[..., 1:9, 1:9], full[..., 1:9, 1:9])


def test_accuracies_that_guessing_reaches_are_no_learning() -> None:
    guessed = ShortcutReport(0.3, 0.3, 0.3, 0.25, 64, 0.5)
    assert not guessed.learned
    assert guessed.kept_by_borders == 0
    by_borders = ShortcutReport(0.85, 0.55, 0.25, 0.25, 64, 0.2)
    assert by_borders.leak
    assert by_borders.kept_by_borders == pytest.approx(0.5)
    assert by_borders.kept_by_centres == 0
    assert not ShortcutReport(0.85, 0.55, 0.65, 0.25, 64, 0.2).leak  # the centres are what it goes by
    assert not ShortcutReport(0.85, 0.35, 0.25, 0.25, 64, 0.2).leak  # as guessing might
