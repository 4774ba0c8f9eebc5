"""The five charts lead where their printed edges lead."""

from __future__ import annotations

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.guidance import CHARTS, Question, walk, walk_all
from napari_medssl.guidance.flowcharts import Ask, Leaf, disagree, find_chart
from napari_medssl.guidance.text import chart_lines, outcome

# Chart, answers in the order asked (y, n), words of the leaf: read off the edges of the guide, lines 98 to 1731.
WAYS = [
    (1, "y", "supervised"),
    (1, "nyy", "hybrid"),
    (1, "nyn", "self-supervised"),
    (1, "nny", "self-supervised"),
    (1, "nnn", "self-supervised or active learning"),
    (2, "y", "supervised"),
    (2, "n", "self-supervised"),
    (3, "y", "self-supervised"),
    (3, "ny", "supervised"),
    (3, "nny", "supervised"),
    (3, "nnn", "self-supervised"),
    (4, "y", "self-supervised"),
    (4, "ny", "supervised"),
    (4, "nn", ""),
    (5, "y", "supervised"),
    (5, "ny", "self-supervised"),
    (5, "nny", "self-supervised"),
    (5, "nnny", "self-supervised"),
    (5, "nnnn", "supervised or hybrid"),
]


@pytest.mark.parametrize(("number", "way", "paradigm"), WAYS)
def test_every_way_through_the_charts(number: int, way: str, paradigm: str) -> None:
    chart = find_chart(number)
    answers: dict[str, bool] = {}
    for letter in way:
        node = walk(chart, answers).node
        assert node, "the chart ended before the answers did"
        answers[node] = letter == "y"
    done = walk(chart, answers)
    assert done.node == ""
    assert done.paradigm == paradigm
    assert [given for _, given in done.path] == [letter == "y" for letter in way]


def test_all_ends_are_reached_and_all_edges_lead_somewhere() -> None:
    for chart in CHARTS:
        edges = {end for node in chart.nodes.values() if isinstance(node, Ask) for end in (node.yes, node.no)}
        assert edges - {""} | {chart.first} == set(chart.nodes)
        assert sum(len(way) > 0 for number, way, _ in WAYS if number == chart.number) == sum(
            2 if isinstance(node, Ask) else 0 for node in chart.nodes.values()
        ) - (sum(isinstance(node, Ask) for node in chart.nodes.values()) - 1)
        assert any(isinstance(node, Leaf) for node in chart.nodes.values())


def test_charts_disagree_on_small_uneven_labels_beside_a_large_pool() -> None:
    """B1-13: chart 5 asks for small and imbalanced first, charts 3 and 4 for the pool."""
    walks = walk_all(Question(task="classification", labels=800, imbalance=20.0, unlabelled=50_000))
    answers = {w.chart.number: w.paradigm for w in walks}
    assert answers[3] == answers[4] == "self-supervised"
    assert answers[5] == "supervised"
    assert disagree(walks)


def test_facts_not_stated_leave_a_question_open() -> None:
    assert [w.node for w in walk_all(Question())] == ["labels", "labels", "pool", "pool", "small"]
    assert not disagree(walk_all(Question()))
    (first, *_) = walk_all(Question())
    assert outcome(first) == "open: Do you have a large, well-labelled dataset?"


def test_noisy_labels_are_no_good_ones() -> None:
    assert walk_all(Question(labels=50_000))[1].paradigm == "supervised"
    assert walk_all(Question(labels=50_000, label_quality="noisy"))[1].paradigm == "self-supervised"


def test_a_chart_in_words_marks_the_way() -> None:
    chart = find_chart(3)
    text = "\n".join(chart_lines(chart, walk(chart, {"pool": False, "labels": False})))
    assert "Is a large volume of unlabelled data available for pretraining?  <- no" in text
    assert "Is the target training set small or imbalanced?  <- open" in text
    assert "although the first answer was that there is no pool" in text
    dead = find_chart(4)
    assert "(no edge)" in "\n".join(chart_lines(dead, walk(dead, {"pool": False, "labels": False})))


def test_an_unknown_chart_is_a_sentence() -> None:
    with pytest.raises(SettingsError, match="there is no chart 6; they are numbered 1 to 5"):
        find_chart(6)
