"""Splits by subject, and examples that depend on their number alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.pretext.scan import Scan, pick_scan, slice_stack
from napari_medssl.pretext.task import Example
from napari_medssl.train.loader import VALIDATION, Examples, batch_numbers, collate, make_loader, split_batch
from napari_medssl.train.split import split_subjects
from tests.train.toy import BrightnessTask, toy_scans


def two_visits(people: int, group: str = "g") -> list[Scan]:
    return [
        dataclasses.replace(toy_scans(1)[0], name=f"{group}{p}_{v}", subject=f"p{p}", group=group)
        for p in range(people)
        for v in ("ED", "ES")
    ]


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_on_both_sides(seed: int) -> None:
    scans = [*two_visits(10), *two_visits(4, "h"), *two_visits(1, "lonely")]
    train, aside = split_subjects(scans, 0.25, seed)
    people = [{(s.group, s.subject) for s in part} for part in (train, aside)]
    assert not people[0] & people[1]
    assert len(train) + len(aside) == len(scans)
    assert len({p for p in people[1] if p[0] == "g"}) == 2
    assert len({p for p in people[1] if p[0] == "h"}) == 1
    assert not [p for p in people[1] if p[0] == "lonely"]


def test_split_is_repeatable_and_depends_on_the_seed() -> None:
    scans = two_visits(12)
    names = [tuple(s.name for s in split_subjects(scans, 0.3, seed)[1]) for seed in (1, 1, 2, 3)]
    assert names[0] == names[1]
    assert len(set(names)) > 1


def test_an_example_depends_on_its_number_alone() -> None:
    scans = toy_scans()
    one, other = (Examples(BrightnessTask(), scans, seed=4) for _ in range(2))
    expected = [one[n] for n in range(6)]
    for n in (5, 2, 0):
        assert torch.equal(other[n]["image"], expected[n]["image"])
        assert other[n]["amount"] == expected[n]["amount"]
    assert len({float(e["amount"]) for e in expected}) == 6
    assert Examples(BrightnessTask(), scans, seed=5)[0]["amount"] != expected[0]["amount"]
    assert Examples(BrightnessTask(), scans, seed=4, stream=VALIDATION)[0]["amount"] != expected[0]["amount"]


def test_parts_of_the_processes_make_up_the_batch() -> None:
    whole = list(batch_numbers(3, 6, 8, rank=0, world=1))
    parts = [list(batch_numbers(3, 6, 8, rank=r, world=4)) for r in range(4)]
    assert whole[0] == list(range(24, 32))
    for step, numbers in enumerate(whole):
        assert [n for part in parts for n in part[step]] == numbers


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_the_same_batches_with_and_without_workers(workers: int) -> None:
    examples = Examples(BrightnessTask(), toy_scans(), seed=1)
    batches = list(make_loader(examples, batch_numbers(0, 3, 4, rank=0, world=1), workers=workers, pinned=False))
    assert len(batches) == 3
    for step, batch in enumerate(batches):
        expected = collate([examples[n] for n in range(4 * step, 4 * step + 4)])
        assert torch.equal(batch["image"], expected["image"])
        assert torch.equal(batch["amount"], expected["amount"])


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_task_says_reaches_the_user_as_it_is(workers: int) -> None:
    class Refusing(BrightnessTask):
        def draw(self, scans: list[Scan], rng: np.random.Generator) -> Example:
            raise FormatError("no slice shows anything; check the scans")

    batches = make_loader(Examples(Refusing(), toy_scans(), seed=0), [[0, 1]], workers=workers, pinned=False)
    with pytest.raises(FormatError, match="^no slice shows anything; check the scans$"):
        next(batches)


def test_split_batch_keeps_every_example_once() -> None:
    batch = {"a": torch.arange(7), "b": torch.arange(14).reshape(7, 2)}
    parts = split_batch(batch, 3)
    assert torch.equal(torch.cat([p["a"] for p in parts]), batch["a"])
    assert torch.equal(torch.cat([p["b"] for p in parts]), batch["b"])
    assert {len(p["a"]) for p in parts} == {2, 3}


def test_slice_stack_repeats_the_ends() -> None:
    scan = toy_scans(1)[0]
    first = slice_stack(scan, 0, 3)
    assert torch.equal(first[0], first[1])
    assert np.array_equal(first[2].numpy(), scan.image[1])
    assert slice_stack(scan, 2).shape == (1, 16, 16)


def test_a_large_set_does_not_rule() -> None:
    many = [dataclasses.replace(s, group="many") for s in toy_scans(100)]
    few = [dataclasses.replace(s, group="few") for s in toy_scans(4)]
    rng = np.random.default_rng(0)
    drawn = [pick_scan([*many, *few], rng).group for _ in range(2000)]
    assert drawn.count("few") / 2000 == pytest.approx(2 / 12, abs=0.03)
