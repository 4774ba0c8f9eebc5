"""Label-free scores against closed forms on orthonormal sets and against loops over pairs."""

import math

import pytest
import torch

from napari_medssl.metrics.representation import (
    alignment,
    effective_rank,
    inter_class_uniformity,
    tolerance,
    uniformity,
)


def draw(n, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_closed_forms_of_an_orthonormal_set():
    eye, classes = torch.eye(6), torch.tensor([0, 0, 1, 1, 2, 2])
    assert float(uniformity(eye)) == pytest.approx(-4.0)  # all distances are sqrt(2)
    assert float(inter_class_uniformity(eye, classes)) == pytest.approx(-4.0)
    assert float(tolerance(eye, classes)) == pytest.approx(0.0)
    assert float(alignment(eye, eye)) == 0.0
    assert float(alignment(eye, -eye)) == pytest.approx(4.0)
    assert float(alignment(eye, eye.roll(1, 0))) == pytest.approx(2.0)
    assert float(effective_rank(eye, centred=False)) == pytest.approx(6.0)
    assert float(effective_rank(eye)) == pytest.approx(5.0)


def test_collapse():
    same = torch.ones(8, 4) * 3
    assert float(uniformity(same)) == pytest.approx(0.0, abs=1e-6)
    assert float(tolerance(same, torch.zeros(8))) == pytest.approx(1.0)
    assert float(effective_rank(same)) == 0.0
    assert float(effective_rank(same, centred=False)) == pytest.approx(1.0)


def test_loops_over_pairs():
    z = draw(9)
    classes = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    unit = [v / v.norm() for v in z]
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    kernel = {(i, j): math.exp(-2 * float((unit[i] - unit[j]).square().sum())) for i, j in pairs}
    assert float(uniformity(z)) == pytest.approx(math.log(sum(kernel.values()) / len(pairs)))
    other = [p for p in pairs if classes[p[0]] != classes[p[1]]]
    assert float(inter_class_uniformity(z, classes)) == pytest.approx(
        math.log(sum(kernel[p] for p in other) / len(other))
    )
    same = [p for p in pairs if classes[p[0]] == classes[p[1]]]
    assert float(tolerance(z, classes)) == pytest.approx(sum(float(unit[i] @ unit[j]) for i, j in same) / len(same))


def test_chunks_change_nothing(monkeypatch):
    z, classes = draw(10), torch.arange(10) % 3
    whole = uniformity(z), inter_class_uniformity(z, classes)
    monkeypatch.setattr("napari_medssl.metrics.representation._CHUNK", 3)
    torch.testing.assert_close((uniformity(z), inter_class_uniformity(z, classes)), whole)


def test_order_and_rotation_change_nothing():
    z, classes = draw(12), torch.arange(12) % 3
    turn, order = torch.linalg.qr(draw(5, seed=1))[0], torch.randperm(12, generator=torch.Generator().manual_seed(2))
    for score in (uniformity, effective_rank):
        torch.testing.assert_close(score(z), score(z[order] @ turn))
    for score in (inter_class_uniformity, tolerance):
        torch.testing.assert_close(score(z, classes), score((z @ turn)[order], classes[order]))


def test_effective_rank_of_two_unequal_directions():
    z = torch.zeros(4, 6)
    z[0, 0], z[1, 0], z[2, 1], z[3, 1] = 3, -3, 1, -1
    shares = (0.75, 0.25)
    assert float(effective_rank(z)) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_scores_without_pairs_are_refused():
    with pytest.raises(ValueError, match="pairs"):
        uniformity(draw(1))
    with pytest.raises(ValueError, match="two classes"):
        inter_class_uniformity(draw(4), torch.zeros(4))
    with pytest.raises(ValueError, match="no class has two"):
        tolerance(draw(3), torch.arange(3))
