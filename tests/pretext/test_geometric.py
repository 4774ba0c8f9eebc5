"""Geometric changes as classes: a bijection, no view of the outside, labels that can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_medssl.pretext.geometric import (
    GeometricChange,
    GeometricSettings,
    QuarterTurns,
    RotationSettings,
    show_middle,
    turn,
)
from napari_medssl.pretext.move_choice import label_of, move_of
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example

SIZE = 40


def scans() -> list[Scan]:
    image = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE), dtype=np.uint8)
    return [Scan(image, None, (1.0, 1.0, 1.0), "scan.nii", "group", "subject")]


def all_classes(task: GeometricChange | QuarterTurns) -> Example:
    """One slice under every class."""
    example = task.draw(scans(), np.random.default_rng(0))
    slices = example["slices"][None].expand(task.classes, -1, -1, -1)
    return task.prepare({"slices": slices, "label": torch.arange(task.classes)})


def test_54_classes_and_their_moves_are_a_bijection() -> None:
    labels = np.arange(54)
    moves = move_of(labels, 100)
    assert len(np.unique(moves, axis=0)) == 54
    assert [sorted(set(moves[:, k].tolist())) for k in range(3)] == [[-15, 0, 15], [-10, 0, 10], [-10, 0, 10]]
    np.testing.assert_array_equal(label_of(moves, 100), labels)


def test_the_class_can_be_read_from_the_image() -> None:
    settings = GeometricSettings(size=SIZE)
    images = all_classes(GeometricChange(settings))["image"].flatten(1)
    nearest = torch.cdist(images, images).fill_diagonal_(9.0).min()
    assert float(nearest) > 1  # no two classes look alike
    still = label_of(np.array([0, 0, 0, 1.0]), SIZE)
    slices = GeometricChange(settings).draw(scans(), np.random.default_rng(0))["slices"]
    expected = show_middle(slices[None].float() / 255, settings.keep)
    torch.testing.assert_close(images[int(still)], expected.flatten(), atol=1e-4, rtol=0)


def test_the_default_shows_nothing_from_beyond_the_slice() -> None:
    mirrored = GeometricSettings(size=SIZE)
    voids = replace(mirrored, fill="zeros")
    torch.testing.assert_close(*(all_classes(GeometricChange(s))["image"] for s in (mirrored, voids)))
    one, other = (all_classes(GeometricChange(replace(s, keep=1.0)))["image"] for s in (mirrored, voids))
    assert not torch.allclose(one, other, atol=0.1)


def test_quarter_turns_are_exact_and_can_be_undone() -> None:
    images = torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    turned = turn(images, torch.arange(4))
    for k in range(4):
        torch.testing.assert_close(turned[k], torch.rot90(images[k], k, (1, 2)))
    torch.testing.assert_close(turn(turned, 4 - torch.arange(4)), images)
    whole = all_classes(QuarterTurns(RotationSettings(size=SIZE, keep=1.0)))
    torch.testing.assert_close(turn(whole["image"], 4 - whole["label"]), whole["image"][:1].expand(4, -1, -1, -1))


def test_draws_are_reproducible_and_reach_every_class() -> None:
    for task in (GeometricChange(GeometricSettings(size=SIZE)), QuarterTurns(RotationSettings(size=SIZE), channels=3)):
        drawn = [task.draw(scans(), np.random.default_rng([1, n])) for n in range(500)]
        again = task.draw(scans(), np.random.default_rng([1, 7]))
        assert all(torch.equal(again[name], drawn[7][name]) for name in again)
        assert {int(d["label"]) for d in drawn} == set(range(task.classes))
        batch = task.prepare({name: torch.stack([d[name] for d in drawn[:3]]) for name in again})
        assert batch["image"].shape == (3, task.channels, SIZE, SIZE)
        assert batch["image"].dtype == torch.float32
