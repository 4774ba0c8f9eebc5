"""Principal components against the covariance's eigenvectors, and their signs."""

import numpy as np

from napari_medssl.metrics.pca import principal_components


def test_axes_are_the_eigenvectors_of_the_covariance():
    x = np.random.default_rng(0).normal(size=(50, 4)) * [5, 3, 1, 0.1] + 7
    found = principal_components(x, 2)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    np.testing.assert_allclose(np.abs(found.axes @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-8)
    np.testing.assert_allclose(found.shares, values[::-1][:2] / values.sum())
    np.testing.assert_allclose(found.project(x).var(0, ddof=1), values[::-1][:2])


def test_signs_do_not_flip():
    x = np.random.default_rng(1).normal(size=(30, 5)) * [4, 3, 2, 1, 1]
    found = principal_components(x, 3)
    assert (found.axes[np.arange(3), np.abs(found.axes).argmax(1)] > 0).all()
    again = principal_components(x[::-1], 3)  # another order of the vectors may turn the axes of the decomposition
    np.testing.assert_allclose(found.axes, again.axes, atol=1e-10)


def test_fewer_vectors_than_components_and_equal_vectors():
    assert principal_components(np.ones((3, 4)), 2).shares.tolist() == [0.0, 0.0]
    assert principal_components(np.eye(2), 5).axes.shape == (2, 2)
