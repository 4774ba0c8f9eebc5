"""Heads find again on other people what was marked on some, say how sure they are, and say what they cannot learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from napari_medssl.classify.slices import (
    EncoderFacts,
    LearnSettings,
    SliceMarks,
    SliceVectors,
    learn_slices,
    learn_slices_steps,
    one_class,
    several_classes,
)
from napari_medssl.errors import SupportError, WeightsError
from napari_medssl.metrics.classification import auc, calibration_error
from tests.classify.slices.conftest import DEPTH, ORGANS, shown

Scans = dict[str, SliceVectors]


def aucs(scores: np.ndarray, start: int) -> list[float]:
    """Of every organ on a scan that begins at `start`."""
    truth = np.array([[organ in on for organ in ORGANS] for on in shown(start).values()], int)
    return [auc(truth[:, c], scores[:, c]).value or 0.0 for c in range(truth.shape[1])]


@pytest.mark.parametrize("head", ["logistic", "knn"])
@pytest.mark.parametrize("height", [True, False])
def test_found_on_people_without_a_mark(scans: Scans, marks: SliceMarks, head: str, *, height: bool) -> None:
    found = learn_slices(scans, marks, LearnSettings(head=head, height=height))  # type: ignore[arg-type]
    for i in (2, 3):
        scores = found.scores(scans[f"person_{i}"])
        assert min(aucs(scores.probability, i % 3)) > 0.93
        assert scores.spread.shape == scores.probability.shape == (DEPTH, 2)
        assert ((scores.probability >= 0) & (scores.probability <= 1)).all()
        assert scores.exam.tolist() == scores.probability.max(0).tolist()
    assert found.notes == ()


def test_height_tells_what_features_do_not(make_scan: Callable[..., SliceVectors]) -> None:
    """An organ that no feature shows is found by where it lies, from scans that begin at different heights."""
    scans = {f"person_{i}": make_scan(i, start=i % 3, noise=0.05) for i in range(6)}
    hidden = {n: SliceVectors(s.data * (np.arange(24) % 6 > 1), s.position_mm, s.encoder) for n, s in scans.items()}
    for i, scan in enumerate(hidden.values()):  # what else changes along a body
        scan.data[:, 3::6] += np.sin(0.4 * np.arange(i % 3, i % 3 + DEPTH)[:, None] + np.arange(4))
    marks = several_classes(list(ORGANS), {f"person_{i}": shown(i % 3) for i in range(3)})
    with_height = learn_slices(hidden, marks).scores(hidden["person_5"])
    assert min(aucs(with_height.probability, 2)) > 0.97


def test_one_class_of_several_sums_to_one(scans: Scans) -> None:
    said = {z: "low" if z < 6 else "middle" if z < 14 else "high" for z in range(0, DEPTH, 2)}
    head = learn_slices(scans, one_class(["low", "middle", "high"], {"person_0": said, "person_3": said}))
    probability = head.scores(scans["person_0"]).probability
    np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-5)
    assert probability.argmax(1)[[0, 10, 19]].tolist() == [0, 1, 2]


def test_ten_marks_are_enough_to_order_the_rest(scans: Scans) -> None:
    ten = {z: shown()[z] for z in (0, 2, 5, 7, 8, 10, 13, 14, 16, 19)}
    head = learn_slices(scans, several_classes(list(ORGANS), {"person_0": ten}))
    assert min(aucs(head.scores(scans["person_0"]).probability, 0)) > 0.9


def test_probabilities_of_hard_slices_are_no_surer_than_right(make_scan: Callable[..., SliceVectors]) -> None:
    scans = {f"person_{i}": make_scan(i, noise=0.9) for i in range(35)}
    marks = several_classes(list(ORGANS), {f"person_{i}": shown() for i in range(5)})
    head = learn_slices(scans, marks, LearnSettings(height=False))
    truth = np.array([[o in on for o in ORGANS] for _ in range(30) for on in shown().values()], int)
    stated = np.concatenate([head.scores(scans[f"person_{i}"]).probability for i in range(5, 35)])
    assert calibration_error(stated[:, 0], truth[:, 0]) < 0.08


def test_spread_falls_with_marks(scans: Scans, marks: SliceMarks) -> None:
    few = several_classes(list(ORGANS), {"person_0": {z: shown()[z] for z in (0, 2, 5, 8, 10, 11, 13, 16)}})
    spread = [learn_slices(scans, m).scores(scans["person_3"]).spread.mean() for m in (few, marks)]
    assert spread[1] < spread[0]


@pytest.mark.parametrize("head", ["attention", "max"])
def test_exams_alone_show_where_the_evidence_lies(make_scan: Callable[..., SliceVectors], head: str) -> None:
    """Nobody said which slices: half of the people have a spleen, the slices that decide are those it lies on."""
    scans = {f"person_{i}": make_scan(i, noise=0.2) for i in range(16)}
    for i in range(0, 16, 2):
        scans[f"person_{i}"].data[9:15, 1::6] -= 1 + 0.1 * (i % 4)  # taken out
    said = {f"person_{i}": {"spleen": i % 2 == 1} for i in range(14)}
    settings = LearnSettings(head=head, height=False, members=2, steps=60)  # type: ignore[arg-type]
    found = learn_slices(scans, SliceMarks(("spleen",), "several", exams=said), settings)
    without, with_it = (found.scores(scans[f"person_{i}"]) for i in (14, 15))
    assert with_it.exam[0] > 0.5 > without.exam[0]
    assert 9 <= with_it.probability[:, 0].argmax() < 15
    if head == "attention":
        assert with_it.attention is not None
        np.testing.assert_allclose(with_it.attention.sum(0), 1, rtol=1e-4)


def test_a_class_never_seen_is_left_out_with_a_note(scans: Scans) -> None:
    head = learn_slices(scans, several_classes(["liver", "ghost"], {"person_0": {0: [], 6: ["liver"], 7: ["liver"]}}))
    assert head.classes == ("liver",)
    assert any("'ghost' is on no marked slice" in note for note in head.notes)
    assert any("too few marks to calibrate liver" in note for note in head.notes)


def test_one_positive_in_a_hundred(make_scan: Callable[..., SliceVectors]) -> None:
    scans = {"long": make_scan(0, depth=101, noise=0.1), "other": make_scan(1, noise=0.1)}
    said = {z: ["liver"] if z == 6 else [] for z in [0, 1, 6, *range(15, 101)]}
    head = learn_slices(scans, several_classes(["liver"], {"long": said}), LearnSettings(height=False))
    assert 4 <= head.scores(scans["other"]).probability[:, 0].argmax() < 12


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        (several_classes(["a"], {}), "no slice is marked yet"),
        (several_classes(["a"], {"person_0": {0: ["a"], 1: ["a"]}}), "'a' is on every marked slice"),
        (several_classes(["a"], {"person_0": {0: [], 1: []}}), "'a' is on no marked slice"),
        (one_class(["a", "b"], {"person_0": {0: "a", 1: "a"}}), "'b' is on no marked slice"),
        (one_class(["a"], {"person_0": {0: "a"}}), "name a second one"),
        (several_classes(["a"], {"gone": {0: ["a"]}}), "gone is marked but is not among the scans"),
        (several_classes(["a"], {"person_0": {99: ["a"]}}), "slice 99 of person_0 is marked"),
    ],
)
def test_what_cannot_be_learned_is_said(scans: Scans, marks: SliceMarks, words: str) -> None:
    with pytest.raises(SupportError, match=words):
        learn_slices(scans, marks)


@pytest.mark.parametrize("depth", [1, 2])
def test_scans_of_one_and_two_slices(make_scan: Callable[..., SliceVectors], depth: int, scans: Scans) -> None:
    tiny = make_scan(1, start=6, depth=depth)
    marks = several_classes(["liver"], {"person_0": {0: [], 1: [], 6: ["liver"], 7: ["liver"], 16: []}})
    scores = learn_slices(scans | {"tiny": tiny}, marks).scores(tiny)
    assert scores.probability.shape == (depth, 1)
    assert np.isfinite(scores.probability).all()


def test_two_slices_are_enough_to_begin(make_scan: Callable[..., SliceVectors]) -> None:
    scan = make_scan(0, start=3, depth=2)
    head = learn_slices({"tiny": scan}, several_classes(["liver"], {"tiny": {0: [], 1: ["liver"]}}))
    first, second = head.scores(scan).probability[:, 0]
    assert second > first


def test_another_encoder_is_refused_by_name(scans: Scans, marks: SliceMarks) -> None:
    head = learn_slices(scans, marks)
    other = dataclasses.replace(scans["person_0"], encoder=EncoderFacts("strange", "mine", "ff" * 32))
    with pytest.raises(WeightsError, match=r"'fake' with the weights tiny .* 'strange' with the weights mine"):
        head.scores(other)


def test_the_same_again(scans: Scans, marks: SliceMarks) -> None:
    one, two = (learn_slices(scans, marks, LearnSettings(seed=3)).scores(scans["person_2"]) for _ in range(2))
    np.testing.assert_array_equal(one.probability, two.probability)
    np.testing.assert_array_equal(one.spread, two.spread)


def test_learning_can_be_stopped(scans: Scans) -> None:
    exams = SliceMarks(("a",), exams={"person_0": {"a": True}, "person_1": {"a": False}})
    steps = learn_slices_steps(scans, exams, LearnSettings(head="max", steps=10_000))
    labels = {next(steps).label for _ in range(4)}
    steps.close()
    assert "learning from exams" in labels
