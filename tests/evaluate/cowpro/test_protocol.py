"""Folds, pairs and the texts that name organs and groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.cowpro.protocol import make_folds, pairs_of, parse_groups, parse_organs
from napari_medssl.train.dataset import Case


def scans(*names: str) -> list[Case]:
    return [Case(Path(f"{name}.nii.gz"), None, "set") for name in names]


def names(cases: tuple[Case, ...]) -> list[str]:
    return [c.image.name.removesuffix(".nii.gz") for c in cases]


def test_folds_are_runs_of_people_in_the_order_of_their_numbers() -> None:
    folds = make_folds(scans("p10", "p2", "p9", "p1", "p11", "p3", "p4"), 3)
    assert [names(f.test) for f in folds] == [["p1", "p2", "p3"], ["p4", "p9"], ["p10", "p11"]]
    for fold in folds:
        assert sorted(names(fold.train) + names(fold.test)) == sorted(["p1", "p2", "p3", "p4", "p9", "p10", "p11"])


def test_scans_of_one_person_stay_together_and_do_not_show_each_other() -> None:
    fold = make_folds(scans("p1_t1", "p1_t2", "p2", "p3", "p4"), 2)[0]
    assert names(fold.test) == ["p1_t1", "p1_t2", "p2"]
    assert [(names((s,)), names((q,))) for s, q in pairs_of(fold, "last")] == [(["p2"], ["p1_t1"]), (["p2"], ["p1_t2"])]
    assert len(pairs_of(fold, "each")) == 4


def test_one_fold_tests_everybody() -> None:
    (fold,) = make_folds(scans("p1", "p2", "p3"), 1)
    assert not fold.train
    assert [names((q,))[0] for _, q in pairs_of(fold, "last")] == ["p1", "p2"]


@pytest.mark.parametrize(("count", "message"), [(3, "choose 1 to 2"), (0, "choose 1 to 2")])
def test_a_fold_needs_two_people(count: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_folds(scans("p1", "p2", "p3", "p4"), count)


def test_organs_and_groups_are_read() -> None:
    assert parse_organs("2 right kidney, 1 liver") == {2: "right kidney", 1: "liver"}
    assert parse_groups("2 3 | 1 4", [2, 3, 1, 4]) == [(2, 3), (1, 4)]
    for text in ("liver", "0 air", "1", "1 liver, 1 spleen", "1 liver, 2 liver"):
        with pytest.raises(SettingsError, match="organs:"):
            parse_organs(text)
    for text in ("2 3 | 1", "2 3 | 1 4 4", "2 3 1 4 |", "2 3 | 1 5"):
        with pytest.raises(SettingsError, match="groups:"):
            parse_groups(text, [2, 3, 1, 4])
