"""Votes of neighbours against a plain loop, and what each weighting does."""

import math

import pytest
import torch
import torch.nn.functional as F

from napari_medssl.metrics.knn import cosine, exponential_cosine, inverse_distance, knn_accuracy, knn_votes


def draw(n, d=6, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("weighting", ["exponential", "cosine", "distance"])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_votes_equal_a_loop(weighting, k):
    queries, bank = draw(7), draw(30, seed=1)
    targets = (draw(30, 3, seed=2) > 0).double()
    how = {"exponential": exponential_cosine(0.1), "cosine": cosine, "distance": inverse_distance}[weighting]
    votes = knn_votes(queries, bank, targets, ks=(k, 5), weighting=how, chunk=3)[k]
    for i, q in enumerate(queries):
        near = []
        for j, b in enumerate(bank):
            cos = float(q @ b / (q.norm() * b.norm()))
            weight = {"exponential": math.exp(cos / 0.1), "cosine": cos, "distance": 1 / float((q - b).norm())}
            near.append((weight[weighting], j))
        near.sort(reverse=True)
        total = sum(w for w, _ in near[:k])
        expected = sum(w / total * targets[j] for w, j in near[:k])
        torch.testing.assert_close(votes[i], expected)


def test_separable_classes_are_all_found():
    classes = torch.arange(40) % 4
    features = F.one_hot(classes, 4) * 5.0 + draw(40, 4).float() * 0.1
    assert knn_accuracy(features[:20], classes[:20], features[20:], classes[20:], k=3) == 1.0


def test_k_above_the_bank_and_small_temperatures_stay_finite():
    votes = knn_votes(draw(3).float(), draw(5, seed=1).float(), torch.eye(5), weighting=exponential_cosine(0.005))
    assert set(votes) == {200, 20, 10, 1}
    for value in votes.values():
        torch.testing.assert_close(value.sum(1), torch.ones(3))
    torch.testing.assert_close(votes[200], votes[20])


def test_neighbours_pointing_away_have_no_vote():
    bank = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    votes = knn_votes(torch.tensor([[2.0, 0.1]]), bank, torch.eye(2), ks=(2,), weighting=cosine)[2]
    torch.testing.assert_close(votes, torch.tensor([[1.0, 0.0]]))
    away = knn_votes(torch.tensor([[-1.0, 0.0]]), bank[:1].repeat(2, 1), torch.eye(2), ks=(2,), weighting=cosine)[2]
    torch.testing.assert_close(away, torch.tensor([[0.5, 0.5]]))


def test_an_equal_vector_decides_the_distance_vote():
    bank = draw(4).float()
    votes = knn_votes(bank[2:3], bank, torch.eye(4), ks=(4,), weighting=inverse_distance)[4]
    assert votes[0, 2] > 0.999


def test_angle_votes_survive_a_rotation():
    queries, bank, turn = draw(5), draw(20, seed=1), torch.linalg.qr(draw(6, seed=3))[0]
    targets = draw(20, 2, seed=4)
    plain, turned = (knn_votes(q, b, targets, ks=(4,))[4] for q, b in ((queries, bank), (queries @ turn, bank @ turn)))
    torch.testing.assert_close(plain, turned)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one target per feature"):
        knn_votes(draw(2), draw(0), draw(0))
    with pytest.raises(ValueError, match="at least 1"):
        knn_votes(draw(2), draw(3), draw(3), ks=(0,))
    with pytest.raises(ValueError, match="above 0"):
        exponential_cosine(0.0)
