"""What planes say together, against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.classify.exams.voting import vote, vote_weights


def test_weights_of_the_documents() -> None:
    accuracy = np.array([[0.883, 0.740, 0.653], [0.860, 0.715, 0.717], [0.843, 0.807, 0.668]])
    wanted = [[0.366, 0.308, 0.280], [0.329, 0.271, 0.411], [0.305, 0.421, 0.309]]
    assert np.allclose(vote_weights(accuracy), wanted, atol=6e-4)


def test_planes_that_guess_have_no_vote() -> None:
    assert np.allclose(vote_weights(np.array([[0.45], [0.9], [0.5]])), [[0], [1], [0]])
    assert np.allclose(vote_weights(np.array([[0.4], [0.5]])), 0.5)  # nobody is better than guessing
    sure = vote_weights(np.array([[1.0], [0.9]]))[:, 0]
    assert sure[0] == pytest.approx(np.log(999) / (np.log(999) + np.log(9)))


def test_of_four_classes_a_quarter_is_guessing() -> None:
    assert np.allclose(vote_weights(np.array([[0.25], [0.40]]), classes=4), [[0], [1]])
    by_hand = np.log([0.5 / 0.5, 0.4 / 0.6]) + np.log(3)
    assert np.allclose(vote_weights(np.array([[0.5], [0.4]]), classes=4)[:, 0], by_hand / by_hand.sum())


def test_vote_by_hand_and_with_missing_planes() -> None:
    weights = np.array([[0.5], [0.3], [0.2]])
    probability = np.array([[[0.9], [0.9], [np.nan]], [[0.1], [np.nan], [np.nan]], [[0.5], [0.5], [np.nan]]])
    found = vote(probability, weights)[:, 0]
    assert found[0] == pytest.approx(0.5 * 0.9 + 0.3 * 0.1 + 0.2 * 0.5)
    assert found[1] == pytest.approx((0.5 * 0.9 + 0.2 * 0.5) / 0.7)
    assert np.isnan(found[2])
    only_silent = vote(np.array([[[np.nan]], [[0.2]], [[0.4]]]), np.array([[1.0], [0.0], [0.0]]))
    assert only_silent[0, 0] == pytest.approx(0.3)
