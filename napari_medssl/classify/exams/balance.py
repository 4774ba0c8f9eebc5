"""What is done against rare labels: which exams an epoch shows, and what an error costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.classify.exams.settings import Balance
from napari_medssl.classify.table import LabelKind
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.imbalance import class_weights, mean_resampling, positive_weights
from napari_medssl.losses.multi_label import multi_label_cross_entropy

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float32]


def epoch_length(targets: FloatArray, balance: Balance) -> int:
    """How many exams an epoch shows."""
    return len(_oversampled(targets)) if balance == "oversample" else len(targets)


def epoch_order(targets: FloatArray, balance: Balance, rng: np.random.Generator) -> IntArray:
    """Numbers of the exams of one epoch, in random order.

    oversample: exams of rare classes are repeated until each class comes equally often; of one label, both sides
    (thesis 3.5.2.2: 208 positives become 922). resample: each class is drawn equally often on average, also of several
    labels (S86). Otherwise every exam once.

    Raises SettingsError for `oversample` with several labels, whose counts cannot all be made equal by repeating exams.
    """
    if balance == "oversample":
        return rng.permutation(_oversampled(targets, rng))
    if balance == "resample":
        return rng.choice(len(targets), len(targets), p=mean_resampling(targets)).astype(np.intp)
    return rng.permutation(len(targets)).astype(np.intp)


def _oversampled(targets: FloatArray, rng: np.random.Generator | None = None) -> IntArray:
    one = targets.shape[1] == 1 or bool((targets.sum(1) == 1).all())
    if not one:
        raise SettingsError("oversample is for one label or one class of several; with several labels choose resample")
    classes = targets[:, 0].astype(int) if targets.shape[1] == 1 else targets.argmax(1)
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    most = max(map(len, members))
    rng = rng or np.random.default_rng(0)
    return np.concatenate([np.concatenate([m, rng.choice(m, most - len(m))]) for m in members]).astype(np.intp)


def criterion(
    kind: LabelKind, targets: FloatArray, balance: Balance, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of (B, L) logits and targets; with `weights` its weights come from `targets`, those learned from."""
    weighted = balance == "weights"
    if kind == "one":
        weight = torch.from_numpy(class_weights(targets)).to(device) if weighted else None
        return lambda logits, truth: F.cross_entropy(logits, truth.argmax(1), weight=weight)
    positive = torch.from_numpy(positive_weights(targets)).to(device) if weighted else None
    return lambda logits, truth: multi_label_cross_entropy(logits, truth, positive_weight=positive)
