"""Which slices are drawn: without repetition, in their order, from the distribution that is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_medssl.classify.exams.sampling import draw_slices
from napari_medssl.errors import SettingsError

NAMES = ("uniform", "normal", "stratified", "all")


@given(st.integers(1, 60), st.integers(1, 40), st.sampled_from(NAMES), st.integers(0, 10))
def test_slices_are_different_sorted_and_inside(depth: int, count: int, name: str, seed: int) -> None:
    drawn = draw_slices(depth, count, name, np.random.default_rng(seed))
    assert len(drawn) == (depth if name == "all" else min(depth, count))
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] >= 0
    assert drawn[-1] < depth
    assert np.array_equal(drawn, draw_slices(depth, count, name, np.random.default_rng(seed)))


def test_normal_draws_have_the_mean_and_spread_that_are_named() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_slices(41, 1, "normal", rng)[0] for _ in range(4000)])
    # Truncated at two standard deviations: sd = sigma * 0.88.
    assert drawn.mean() == pytest.approx(20.0, abs=0.5)
    assert drawn.std() == pytest.approx(41 / 4 * 0.88, rel=0.04)
    inside = np.abs(np.random.default_rng(1).normal(0, 1, 100_000)) < 2
    assert 1 - inside.mean() == pytest.approx(0.0455, abs=0.003)  # the share that is drawn anew


def test_uniform_draws_take_every_slice_alike() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([draw_slices(20, 5, "uniform", rng) for _ in range(2000)]), minlength=20)
    assert np.abs(counts / 500 - 1).max() < 0.2


def test_stratified_draws_one_of_each_part() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert (draw_slices(32, 8, "stratified", rng) // 4).tolist() == list(range(8))


def test_unknown_names_and_counts_are_refused() -> None:
    with pytest.raises(SettingsError, match="choose uniform, normal"):
        draw_slices(5, 2, "gauss", np.random.default_rng(0))
    with pytest.raises(SettingsError, match="choose 1 or more"):
        draw_slices(5, 0, "uniform", np.random.default_rng(0))
