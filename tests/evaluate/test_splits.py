"""Folds and few labels: nobody on both sides, groups kept even, small sets inside large ones."""

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.splits import Fold, deal_subjects, labelled_share, subject_folds

SUBJECTS = np.repeat([f"p{n:02d}" for n in range(12)], np.arange(12) % 4 + 2)
STRATA = np.array([int(s[1:]) % 3 for s in SUBJECTS])


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_every_example_is_tested_once_by_strangers(count):
    folds = subject_folds(SUBJECTS, count, rng())
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(len(SUBJECTS)))
    for fold in folds:
        assert not set(SUBJECTS[fold.train]) & set(SUBJECTS[fold.test])
        assert len(fold.train) + len(fold.test) == len(SUBJECTS)


def test_groups_are_spread_over_folds():
    for fold in subject_folds(SUBJECTS, 4, rng(3), strata=STRATA):
        people = dict(zip(SUBJECTS[fold.test], STRATA[fold.test], strict=True))
        assert sorted(people.values()) == [0, 1, 2]


def test_seeds_change_the_folds():
    first, again, other = (subject_folds(SUBJECTS, 3, rng(s))[0].test.tolist() for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_leak_is_refused():
    with pytest.raises(ValueError, match="both sides"):
        Fold(np.array([0]), np.array([1]), np.array(["a", "a"]))
    with pytest.raises(SettingsError, match="2 to 12"):
        subject_folds(SUBJECTS, 13, rng())
    with pytest.raises(SettingsError, match="2 folds of 1 people"):
        subject_folds(np.array(["a", "a"]), 2, rng())


def test_dealing_takes_groups_in_turn():
    dealt = deal_subjects(SUBJECTS, rng(), strata=STRATA)
    kinds = [int(p[1:]) % 3 for p in dealt]
    assert sorted(dealt) == sorted(set(SUBJECTS))
    assert all(sorted(kinds[i : i + 3]) == [0, 1, 2] for i in range(0, 12, 3))


@pytest.mark.parametrize("strata", [None, STRATA])
def test_few_labels_come_from_few_people_and_are_nested(strata):
    train = np.arange(5, len(SUBJECTS))
    before: set[int] = set()
    for share in (0.01, 0.05, 0.1, 0.5, 1.0):
        chosen = labelled_share(train, SUBJECTS, share, rng=rng(2), strata=strata)
        least = 1 if strata is None else 3
        assert set(chosen) <= set(train)
        assert len(chosen) == max(round(share * len(train)), least)
        whole = [set(np.flatnonzero(p == SUBJECTS)) & set(train) <= set(chosen) for p in set(SUBJECTS[chosen])]
        assert whole.count(False) <= least  # people are used up before others are asked
        assert before <= set(chosen)
        before = set(chosen)
        if strata is not None:
            assert set(strata[chosen]) == {0, 1, 2}
    assert before == set(train)


def test_shares_outside_are_refused():
    with pytest.raises(SettingsError, match="above 0"):
        labelled_share(np.arange(3), SUBJECTS, 0.0, rng=rng())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_fold_has_people_of_every_group(count):
    subjects = np.array([f"p{n}" for n in range(24)])
    strata = np.arange(24) % 4
    folds = subject_folds(subjects, count, np.random.default_rng(0), strata=strata)
    counts = np.array([np.bincount(strata[f.test], minlength=4) for f in folds])
    assert counts.sum() == 24
    assert set((counts - 6 // count).ravel()) <= {0, 1}
