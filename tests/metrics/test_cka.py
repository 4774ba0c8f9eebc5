"""Layer similarity: identities, a second derivation by Gram matrices, and batches."""

import itertools
import math

import numpy as np
import pytest
import torch

from napari_medssl.metrics.cka import DebiasedCKA, cka_table, linear_cka, rbf_cka


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("cka", [linear_cka, rbf_cka])
def test_one_for_rotated_scaled_and_shifted_features(cka):
    x = draw(30, 6)
    turn = torch.linalg.qr(draw(6, 6, 1))[0]
    assert cka(x, x) == pytest.approx(1.0)
    assert cka(x, 3 * x @ turn + 5) == pytest.approx(1.0)
    assert cka(x, draw(30, 6, 2)) < 0.6


@pytest.mark.parametrize(("n", "d", "e"), [(40, 5, 7), (6, 20, 9)])
def test_feature_and_gram_forms_agree(n, d, e):
    x, y = draw(n, d), draw(n, e, 1)
    centre = np.eye(n) - 1 / n
    k, m = (centre @ (v @ v.T).numpy() @ centre for v in (x, y))
    expected = np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(x, y) == pytest.approx(expected)


def test_uncorrelated_layers_have_none():
    x = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    y = torch.tensor([[1.0], [1], [-1], [-1]])
    assert linear_cka(x, y) == pytest.approx(0.0, abs=1e-12)


def test_table_has_a_row_per_layer():
    x, y, z = draw(20, 3), draw(20, 4, 1), draw(20, 5, 2)
    table = cka_table([x, y], [x, y, z])
    assert [len(row) for row in table] == [3, 3]
    assert table[0][0] == pytest.approx(1)
    assert table[0][1] == pytest.approx(table[1][0])


def test_batches_give_what_all_inputs_give():
    x = draw(400, 4)
    y = x @ draw(4, 6, 1) + 0.8 * draw(400, 6, 2)
    whole, batched = DebiasedCKA(), DebiasedCKA()
    whole.update(x, y)
    for i in range(0, 400, 20):
        batched.update(x[i : i + 20], y[i : i + 20])
    assert whole.value == pytest.approx(linear_cka(x, y), abs=0.02)
    assert batched.value == pytest.approx(whole.value, abs=0.05)


def test_unbiased_where_the_plain_form_is_not():
    unbiased = DebiasedCKA()
    for seed in range(60):
        unbiased.update(draw(8, 30, seed), draw(8, 30, 1000 + seed))
    assert abs(unbiased.value) < 0.1
    assert linear_cka(draw(8, 30), draw(8, 30, 1)) > 0.6


def test_unbiased_estimate_equals_its_sum_over_quadruples():
    x, y = draw(5, 2), draw(5, 3, 1)
    k, m = (v @ v.T for v in (x, y))
    quadruples = list(itertools.permutations(range(5), 4))
    expected = [
        sum(float(a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q])) for i, j, q, r in quadruples) / len(quadruples)
        for a, b in ((k, m), (k, k), (m, m))
    ]
    found = DebiasedCKA()
    found.update(x, y)
    torch.testing.assert_close(found._sums, torch.tensor(expected, dtype=torch.float64))


def test_batches_too_small_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        DebiasedCKA().update(draw(3, 2), draw(3, 2))
    assert math.isnan(DebiasedCKA().value)
