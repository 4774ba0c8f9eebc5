"""What is done with frozen features to learn a task from labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import torch

from napari_medssl.evaluate.examples import Examples, FloatArray, IntArray
from napari_medssl.evaluate.imbalance import mean_resampling, thin
from napari_medssl.evaluate.probe import linear_probe
from napari_medssl.metrics.knn import Weighting, cosine, exponential_cosine, inverse_distance, knn_votes

ProtocolName: TypeAlias = Literal["knn", "probe", "finetune"]
Balance: TypeAlias = Literal["none", "resample", "weights"]
NeighbourWeights: TypeAlias = Literal["exponential", "cosine", "distance"]

Learner: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Features (N, D) and targets (N, L) to learn from, features (M, D) to be told: (M, L) probabilities or numbers."""

_WEIGHTINGS: dict[NeighbourWeights, Weighting] = {
    "exponential": exponential_cosine(),
    "cosine": cosine,
    "distance": inverse_distance,
}


def neighbours(k: int, weights: NeighbourWeights) -> Learner:
    """The vote of the k nearest training examples."""

    def learn(train: FloatArray, targets: FloatArray, test: FloatArray) -> FloatArray:
        tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in (test, train, targets)]
        return np.asarray(knn_votes(*tensors, ks=(k,), weighting=_WEIGHTINGS[weights])[k])

    return learn


def probe(examples: Examples, *, balanced: bool, inverse_penalty: float) -> Learner:
    """Logistic (for numbers ridge) regression."""

    def learn(train: FloatArray, targets: FloatArray, test: FloatArray) -> FloatArray:
        return linear_probe(
            train, targets, test, kind=examples.kind, balanced=balanced, inverse_penalty=inverse_penalty
        )

    return learn


def learn_frozen(
    learner: Learner,
    features: FloatArray,
    examples: Examples,
    *,
    train: IntArray,
    test: IntArray,
    ratio: float,
    resample: bool,
    rng: np.random.Generator,
) -> FloatArray:
    """(M, L) answers for `test`.

    ratio: rare classes are thinned in the training examples to this share of the common one; 0 leaves them. With
        several labels each is thinned, learned and told on its own.
    resample: training examples are drawn anew, each class equally often.
    """
    if not ratio and not resample:
        return learner(features[train], examples.targets[train], features[test])
    if examples.kind != "several":
        chosen = prepare(train, examples.targets, ratio=ratio, resample=resample, rng=rng)
        return learner(features[chosen], examples.targets[chosen], features[test])
    columns = []
    for c in range(len(examples.labels)):
        one = examples.targets[:, c : c + 1]
        chosen = prepare(train, one, ratio=ratio, resample=resample, rng=rng)
        columns.append(learner(features[chosen], one[chosen], features[test]))
    return np.concatenate(columns, 1)


def prepare(
    train: IntArray, targets: FloatArray, *, ratio: float, resample: bool, rng: np.random.Generator
) -> IntArray:
    """The training examples after making classes rare and drawing them equally often again."""
    if ratio:
        mine = targets[train]
        train = train[thin(mine.argmax(1) if mine.shape[1] > 1 else mine[:, 0], ratio, rng)]
    if resample:
        train = rng.choice(train, len(train), p=mean_resampling(targets[train]))
    return train
