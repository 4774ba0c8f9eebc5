"""The loss of recognition: each set is judged by its own labels."""

from __future__ import annotations

import math

import pytest
import torch

from napari_medssl.models.recogniser import StructureUNet
from napari_medssl.train.objectives.structure_labels import StructureLabels, structure_loss

SIDE = 32


def test_right_answers_cost_nothing_and_a_plain_guess_what_it_should() -> None:
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    labels[:, 4:20, 4:20] = 1
    sure = 40.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert float(structure_loss(sure, labels)) == pytest.approx(0, abs=1e-3)
    n, inside, third = 2 * SIDE**2, 2 * 16 * 16, 1 / 3
    missed = 1 - (2 * third * inside + 1) / (third * n + inside + 1)  # of the structure that is there, not of the other
    guess = float(structure_loss(torch.zeros(2, 3, SIDE, SIDE), labels))
    assert guess == pytest.approx(math.log(3) + missed, rel=1e-5)


def test_slices_without_any_structure_are_judged_by_cross_entropy_alone() -> None:
    logits, labels = torch.randn(2, 3, SIDE, SIDE), torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    alone = float(torch.nn.functional.cross_entropy(logits, labels))
    assert float(structure_loss(logits, labels)) == pytest.approx(alone, rel=1e-6)


def test_a_structure_that_few_slices_show_is_learned() -> None:
    """Free logits of one small structure: with a Dice of slices that do not show it, it sank to zero."""
    shows = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    shows[4:8, 4:8] = True
    inside = torch.tensor(-4.0, requires_grad=True)
    optimiser = torch.optim.SGD([inside], lr=5.0)
    for step in range(120):
        labels = (shows & (step % 4 == 0))[None].long()
        # Its pixels look alike on all slices, as a collapsed gallbladder looks like what is around it.
        second = torch.where(shows, inside, torch.tensor(-4.0))
        loss = structure_loss(torch.stack([torch.zeros(SIDE, SIDE), second])[None], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(inside.detach()) > 0


def test_only_the_channels_of_its_own_set_learn_from_a_slice() -> None:
    torch.manual_seed(0)
    network = StructureUNet(structures={"a": ["x"], "b": ["y", "z"]}, features=(8, 8, 8, 8, 8, 8), input_size=SIDE)
    batch = {
        "slices": torch.rand(2, 5, SIDE, SIDE),
        "labels": torch.ones(2, SIDE, SIDE, dtype=torch.uint8),
        "group": torch.tensor([1, 1]),
    }
    StructureLabels(network)(batch)["loss"].backward()
    gradient = network.net.final_conv.weight.grad
    assert gradient is not None
    assert float(gradient[:2].abs().max()) == 0
    assert (gradient[2:].abs().amax((1, 2, 3)) > 0).all()


def test_slices_of_two_sets_count_alike() -> None:
    torch.manual_seed(0)
    network = StructureUNet(structures={"a": ["x"], "b": ["y"]}, features=(8, 8, 8, 8, 8, 8), input_size=SIDE).eval()
    objective = StructureLabels(network)
    slices, labels = torch.rand(3, 5, SIDE, SIDE), torch.randint(0, 2, (3, SIDE, SIDE), dtype=torch.uint8)

    def loss(rows: list[int], groups: list[int]) -> float:
        return float(
            objective({"slices": slices[rows], "labels": labels[rows], "group": torch.tensor(groups)})["loss"].detach()
        )

    whole = loss([0, 1, 2], [0, 1, 1])
    assert whole == pytest.approx((loss([0], [0]) + 2 * loss([1, 2], [1, 1])) / 3, rel=1e-5)
