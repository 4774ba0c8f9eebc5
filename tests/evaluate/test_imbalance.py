"""Classes made rare, and drawn or weighed evenly again."""

import numpy as np
import pytest

from napari_medssl.evaluate.imbalance import class_weights, mean_resampling, positive_weights, thin


@pytest.mark.parametrize("ratio", [0.025, 0.1, 0.5, 1.0])
def test_ratio_is_met(ratio):
    classes = np.repeat([0, 1, 2], [200, 120, 4])
    kept = thin(classes, ratio, np.random.default_rng(0))
    counts = np.bincount(classes[kept])
    assert counts.tolist() == [200, min(120, round(200 * ratio)), min(4, round(200 * ratio))]
    assert len(set(kept)) == len(kept)


def test_one_of_a_class_stays():
    assert np.bincount(
        np.repeat([0, 1], [10, 10])[thin(np.repeat([0, 1], [10, 10]), 0.001, np.random.default_rng(0))]
    ).tolist() == [10, 1]


def test_classes_are_drawn_equally_often():
    targets = np.eye(3)[np.repeat([0, 1, 2], [90, 9, 1])]
    chances = mean_resampling(targets)
    np.testing.assert_allclose(chances @ targets, [1 / 3] * 3)
    drawn = np.random.default_rng(0).choice(100, 6000, p=chances)
    np.testing.assert_allclose(targets[drawn].mean(0), [1 / 3] * 3, atol=0.02)


def test_none_of_several_labels_is_a_class_too():
    targets = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(mean_resampling(targets), [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert mean_resampling(np.array([[1.0], [1.0]])).tolist() == [0.5, 0.5]


def test_weights_even_out_the_loss():
    targets = np.eye(3)[np.repeat([0, 1], [6, 2])]
    weights = class_weights(targets)
    assert weights[2] == 0
    np.testing.assert_allclose(targets.sum(0) * weights, [4, 4, 0])
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert positive_weights(labels).tolist() == [3, 1, 1]
