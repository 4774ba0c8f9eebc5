"""Fine-tuning an encoder to tell labels of slices or exams, and the same from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.data import spread
from napari_medssl.evaluate.examples import Examples, FloatArray, IntArray, Kind
from napari_medssl.evaluate.fit import FitSettings, fit_steps
from napari_medssl.evaluate.imbalance import class_weights, mean_resampling, positive_weights
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.scan import Scan, slice_stack, to_float
from napari_medssl.progress import Progress, Steps
from napari_medssl.transforms.view_presets import VIEW_PRESETS
from napari_medssl.transforms.views import apply_views, draw_views


class Classifier(nn.Module):
    """Encoder, mean over the slice, for exams mean and maximum over its slices, one linear layer."""

    def __init__(self, encoder: Any, outputs: int, *, bags: bool) -> None:
        super().__init__()
        self.encoder, self.bags = encoder, bags
        self.head = nn.Linear(encoder.channels * (2 if bags else 1), outputs)

    def forward(self, slices: Tensor) -> Tensor:
        """(B, S, C, H, W) slices of each example to (B, L) logits."""
        b, s = slices.shape[:2]
        features = pooled(self.encoder(slices.flatten(0, 1))).view(b, s, -1)  # (B, S, D)
        joined = torch.cat([features.mean(1), features.amax(1)], 1) if self.bags else features[:, 0]
        logits: Tensor = self.head(joined)
        return logits


def finetune_steps(
    candidate: Candidate,
    scans: Sequence[Scan],
    examples: Examples,
    *,
    train: IntArray,
    test: IntArray,
    settings: FitSettings,
    seed: int,
    device: torch.device,
    scratch: bool = False,
) -> Steps[FloatArray]:
    """(M, L) probabilities (or numbers) for the `test` examples after training on the `train` ones.

    scratch: first weights instead of the candidate's, everything trained from the start at the head's rate: the
        supervised baseline, with the same architecture, steps, batches and augmentation.

    Raises SettingsError for an encoder without weights, DivergedError when the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = candidate.fresh(seed) if scratch else candidate.trainable()
        network = Classifier(encoder, len(examples.labels), bags=examples.bags).to(device)
    if scratch:
        settings = replace(settings, mode="full", encoder_rate=settings.head_rate)
    if examples.bags:
        settings = replace(settings, batch=max(4, settings.batch // settings.exam_slices))
    rng = np.random.default_rng([seed, 11])
    targets = examples.targets[train]
    criterion = _criterion(examples.kind, targets, settings, device)

    def loss(numbers: IntArray, rng: np.random.Generator) -> Tensor:
        slices = _augmented(_bags(scans, examples, train[numbers], encoder.in_slices, settings), settings, rng, device)
        return criterion(network(slices), torch.from_numpy(targets[numbers]).to(device))

    chances = mean_resampling(targets) if settings.balance == "resample" and examples.kind != "number" else None
    yield from fit_steps(network.encoder, network.head, loss, chances, len(train), settings, rng=rng)
    return (yield from _predict(network, scans, examples, test, settings, device))


def _predict(
    network: Classifier,
    scans: Sequence[Scan],
    examples: Examples,
    test: IntArray,
    settings: FitSettings,
    device: torch.device,
) -> Steps[FloatArray]:
    parts = []
    for first in range(0, len(test), settings.batch):
        yield Progress(first, len(test), "testing")
        numbers = test[first : first + settings.batch]
        slices = _bags(scans, examples, numbers, network.encoder.in_slices, settings)
        with torch.inference_mode():
            parts.append(_answers(network(to_float(slices.to(device))), examples.kind).cpu().numpy())
    return np.concatenate(parts)


def _bags(scans: Sequence[Scan], examples: Examples, numbers: IntArray, channels: int, settings: FitSettings) -> Tensor:
    """(B, S, C, H, W) uint8; exams with fewer slices than S repeat some."""
    count = settings.exam_slices if examples.bags else 1
    return torch.stack([_bag(scans[examples.scan[n]], examples.slices[n], count, channels) for n in numbers])


def _bag(scan: Scan, slices: IntArray, count: int, channels: int) -> Tensor:
    chosen = np.resize(slices[spread(count, len(slices))], count)
    return torch.stack([slice_stack(scan, int(z), channels) for z in chosen])


def _augmented(slices: Tensor, settings: FitSettings, rng: np.random.Generator, device: torch.device) -> Tensor:
    if settings.augment == "none":
        return to_float(slices.to(device))
    ranges, flat = VIEW_PRESETS[settings.augment], slices.flatten(0, 1)
    drawn = [draw_views(rng, ranges, count=1, mean=float(s[0, ::4, ::4].float().mean()) / 255) for s in flat]
    parameters = {name: torch.stack([d[name] for d in drawn]).to(device) for name in drawn[0]}
    views = apply_views(flat.to(device), parameters, ranges, size=flat.shape[-1])
    return views[:, 0].view(*slices.shape)


def _criterion(
    kind: Kind, targets: FloatArray, settings: FitSettings, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    weighted = settings.balance == "weights"
    if kind == "number":
        return F.mse_loss
    if kind == "one":
        weight = torch.from_numpy(class_weights(targets)).to(device) if weighted else None
        return lambda logits, truth: F.cross_entropy(logits, truth.argmax(1), weight=weight)
    positive = torch.from_numpy(positive_weights(targets)).to(device) if weighted else None
    return lambda logits, truth: F.binary_cross_entropy_with_logits(logits, truth, pos_weight=positive)


def _answers(logits: Tensor, kind: Kind) -> Tensor:
    if kind == "number":
        return logits
    return logits.softmax(1) if kind == "one" else logits.sigmoid()
