"""Means, spreads, paired differences, and the tables made of them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.evaluate.cowpro import published
from napari_medssl.evaluate.cowpro.averages import Difference, Scores, difference, mean_of, per_organ
from napari_medssl.evaluate.cowpro.scoring import Score
from napari_medssl.evaluate.cowpro.tables import Effect, all_effects, all_tables
from napari_medssl.evaluate.cowpro.variants import Variant, all_variants

PEOPLE = [(1, "a"), (1, "b"), (2, "c"), (2, "d")]


def score(person: tuple[int, str], organ: str, variant: Variant, dice: float, support: str = "s") -> Score:
    return Score(person[0], person[1], f"{person[1]}.nii", support, organ, "trained", variant.name, dice, dice / 2)


def everything(change: dict[Variant, float]) -> Scores:
    """All organs and variants: 0.5, 0.6, ... by person, changed for some variants."""
    return Scores(
        [
            score(p, organ, v, 0.5 + 0.1 * n + change.get(v, 0.0))
            for n, p in enumerate(PEOPLE)
            for organ in published.ORGANS
            for v in all_variants()
        ]
    )


def test_everybody_counts_once_and_the_spread_is_that_of_the_folds() -> None:
    v = Variant()
    scores = Scores([score(p, "liver", v, 0.1 * n) for n, p in enumerate(PEOPLE)] + [score(PEOPLE[3], "liver", v, 0.5)])
    values = scores.values("trained", v, "liver")
    assert values[2, "d"] == pytest.approx(40.0)  # the mean over two supports
    mean = mean_of(values)
    assert mean is not None
    assert (mean.value, mean.people) == (pytest.approx((0 + 10 + 20 + 40) / 4), 4)
    assert mean.over_folds == pytest.approx(np.std([5.0, 30.0], ddof=1))
    assert mean_of({(1, "a"): 3.0}).over_folds is None
    assert mean_of({}) is None


def test_differences_are_paired_by_person() -> None:
    first = {p: 50.0 + 10 * n for n, p in enumerate(PEOPLE)}
    second = {p: value - 2 - 0.1 * n for n, (p, value) in enumerate(first.items())} | {(3, "z"): 0.0}
    found = difference(first, second, resamples=200)
    assert found is not None
    assert (found.value, found.people) == (pytest.approx(2.15), 4)
    assert found.interval is not None
    assert 2.0 <= found.interval.low < 2.15 < found.interval.high <= 2.3  # people differ by 10, the pairs do not
    assert found.sure
    assert difference(first, {(3, "z"): 0.0}, resamples=20) is None


def test_published_numbers_keep_to_the_oracles() -> None:
    assert np.mean(published.METHODS["CoWPro"]) == pytest.approx(75.56)  # E-25
    assert published.METHODS["CoWPro"] == published.QUADRANTS["yes"]
    assert published.THRESHOLDS["fixed"] == published.QUADRANTS["no"]


def test_tables_have_ours_beside_the_thesis() -> None:
    methods, thresholds, quadrants, prototypes = all_tables(everything({Variant(threshold="dynamic"): 0.1}))
    assert thresholds.columns == (*published.ORGANS, "mean")
    fixed, dynamic = thresholds.rows
    assert [m.value for m in fixed.ours] == pytest.approx([65.0] * 5)
    assert [m.value for m in dynamic.ours] == pytest.approx([75.0] * 5)
    assert fixed.thesis == (79.06, 72.24, 75.04, 71.19, 74.38)
    assert [row.thesis[4] for row in quadrants.rows] == [75.56, 75.56, 75.56, 74.38]
    assert sum(any(row.ours) for row in methods.rows) == 4
    assert {row.name for row in methods.rows if not any(row.ours)} == set(published.METHODS)
    assert len(prototypes.rows) == 12
    assert prototypes.rows[4].thesis == (75.69, 70.42, None, None, None)


def test_the_default_threshold_is_dynamic_for_kidneys_alone() -> None:
    assert per_organ("right kidney", Variant()).threshold == "dynamic"
    assert per_organ("liver", Variant(region="support")) == Variant(region="support")


def test_effects_say_whether_the_direction_is_the_published_one() -> None:
    scores = everything({Variant(threshold="dynamic"): 0.1, Variant(region="support"): -0.1})
    effects = {(e.name, e.organ): e for e in all_effects(scores, resamples=20)}
    threshold = effects["dynamic - fixed threshold", "right kidney"]
    assert threshold.ours.value == pytest.approx(10.0)
    assert (threshold.thesis, threshold.agrees) == (0.48, "as published")
    assert effects["dynamic - fixed threshold", "spleen"].agrees == "opposite"
    assert effects["quadrants (labelled slices) - none", "liver"].agrees == "opposite"
    assert effects["window 2 - window 4", "left kidney"].thesis == 3.35
    assert effects["2 % - 100 % of prototypes, window 4", "left kidney"].agrees == "not told apart"
    assert effects["window 2 - window 4", "liver"].agrees == "-"
    assert Effect("x", "liver", Difference(1.0, None, 1), 2.0).agrees == "not told apart"
