"""Labelled slices: what is shown, from which set, with which labels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.episodes import labelled_slices
from napari_medssl.train.episodes.labelled_slices import LabelledSlices
from napari_medssl.transforms.warp import Warp

STRUCTURES = {"abdomen": ["spleen", "liver"], "heart": ["cavity"]}
Example = dict[str, torch.Tensor]


def scan(group: str, *, labelled: bool = True, depth: int = 20) -> Scan:
    """Slice z is z / 100 bright; label 1 on slices 4 to 15, label 2 on 10 to 12, label 9 on all."""
    image = np.zeros((depth, 32, 32), np.uint8)
    image += np.round(np.arange(depth) * 2.55).astype(np.uint8)[:, None, None]
    labels = np.zeros(image.shape, np.uint8)
    labels[4:16, 2:14, 2:14] = 1
    labels[10:13, 18:30, 2:14] = 2
    labels[:, 18:30, 18:30] = 9
    return Scan(image, labels if labelled else None, (3.0, 1.0, 1.0), f"{group}.nii", group, group)


def draws(scans: list[Scan], count: int) -> list[Example]:
    task = LabelledSlices(STRUCTURES)
    return [task.draw(scans, np.random.default_rng([5, n])) for n in range(count)]


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices are neither moved nor changed."""
    still = Warp(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), torch.zeros(1, 2, 6, 6))
    monkeypatch.setattr(labelled_slices, "draw_warp", lambda rng, **kwargs: still)
    monkeypatch.setattr(labelled_slices, "changed_contrast", lambda slices, *rest: slices)


@pytest.mark.usefixtures("unchanged")
def test_a_slice_comes_with_neighbours_six_millimetres_apart_and_its_own_labels() -> None:
    drawn = draws([scan("abdomen")], 40)
    for example in drawn:
        shown = (example["slices"].mean((1, 2)) * 100).round().int().tolist()
        z = shown[2]
        assert shown == [min(max(z + o, 0), 19) for o in (-4, -2, 0, 2, 4)]
        assert bool((example["labels"] == 1).any()) == (4 <= z < 16)
        assert bool((example["labels"] == 2).any()) == (10 <= z < 13)
        assert int(example["labels"].max()) <= 2  # 9 is not named, and so is background
    middles = [int((e["slices"][2].mean() * 100).round()) for e in drawn]
    assert sum(10 <= z < 13 for z in middles) > 10  # 3 of 20 slices, but every second draw that asks for a structure


def test_sets_are_told_apart_and_others_left_out() -> None:
    scans = [scan("abdomen"), scan("heart"), scan("knee"), scan("heart", labelled=False)]
    drawn = draws(scans, 60)
    groups = [int(e["group"]) for e in drawn]
    assert set(groups) == {0, 1}
    assert groups.count(0) > groups.count(1)  # it teaches two structures, the other one
    for example in drawn:
        assert example["slices"].shape == (5, 32, 32)
        assert example["slices"].dtype == torch.float32
        assert 0 <= float(example["slices"].min()) <= float(example["slices"].max()) <= 1
        assert int(example["labels"].max()) <= (2 if int(example["group"]) == 0 else 1)


@pytest.mark.parametrize("scans", [[scan("knee")], [scan("abdomen", labelled=False)]])
def test_without_a_scan_of_the_named_sets_it_says_which_they_are(scans: list[Scan]) -> None:
    with pytest.raises(FormatError, match="abdomen or heart"):
        draws(scans, 1)


def test_contrasts_of_all_kinds_are_drawn() -> None:
    slices, labels = torch.rand(5, 32, 32), torch.zeros(5, 32, 32)
    seen = [labelled_slices.changed_contrast(slices, labels, np.random.default_rng(n)) for n in range(12)]
    for out in seen:
        assert out.shape == slices.shape
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
    alike = [float(torch.corrcoef(torch.stack([slices.flatten(), o.flatten()]))[0, 1]) for o in seen]
    assert max(alike) > 0.95  # only a curve
    assert min(alike) < 0.7  # another contrast


def test_organs_with_relaxation_times_are_shown_as_a_sequence_might(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def look(slices: torch.Tensor, labels: torch.Tensor, names: list[str], rng: object) -> torch.Tensor:
        seen.append(names)
        return torch.zeros_like(slices)

    monkeypatch.setattr(labelled_slices, "apply_sequence_look", look)
    slices, labels = torch.rand(5, 16, 16), torch.zeros(5, 16, 16)
    for names in (["spleen", "liver"], ["cavity"]):
        for n in range(60):
            labelled_slices.changed_contrast(slices, labels, np.random.default_rng(n), names)
    assert {tuple(names) for names in seen} == {("spleen", "liver")}
    assert 10 < len(seen) < 30  # a third


def test_a_changed_contrast_is_one_look_here_and_another_there(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([torch.zeros(5, 64, 64), torch.ones(5, 64, 64)])
    monkeypatch.setattr(labelled_slices, "apply_random_network", lambda slices, rng: next(looks))
    drawn = next(r for r in map(np.random.default_rng, range(99)) if 1 / 3 < copy.deepcopy(r).random() < 2 / 3)
    out = labelled_slices.changed_contrast(torch.rand(5, 64, 64), torch.zeros(5, 64, 64), drawn)
    smooth = torch.nn.functional.avg_pool2d(out, 8)
    assert float(smooth.min()) < 0.25
    assert float(smooth.max()) > 0.75
    assert float(smooth.diff(dim=-1).abs().max()) < 0.6  # no border between the two
