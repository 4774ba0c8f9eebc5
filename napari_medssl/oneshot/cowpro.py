"""Correlation-weighted prototypes (CoWPro, thesis chapter 7): from features and labelled slices to an organ map.

Everything here is a function of tensors: no encoder, no volume. Three methods share the path: `cowpro` and the
baselines `alpnet` and `panet`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.oneshot.baselines import best_prototype_scores, global_prototypes
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, ThresholdMode, threshold_mode
from napari_medssl.oneshot.prototypes import Prototypes, extract_prototypes

CORRELATION_BYTES = 8 * 2**20
"""Largest correlation matrix held at once without gradients; more cells are scored in chunks. Small enough for a
processor's cache, where it is fastest."""

_SLICES = 8  # query slices brought to image resolution at once


def predict(
    support_features: Tensor,
    support_masks: Tensor,
    query_features: Tensor,
    settings: PrototypeSettings | None = None,
    *,
    organ: str = "",
    stride: int = 8,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Foreground probability of one organ on query slices.

    support_features: (N, D, h, w). support_masks: (N, H, W) binary or coverage in [0, 1], at image resolution.
    query_features: (Z, D, h, w), any floating type, on the same device.
    organ: name, for the per-organ threshold. stride: image pixels per cell. size: (H, W) of the result, by default that
    of the masks.

    Returns (Z, H, W) float32 in [0, 1]; above 0.5 is foreground. Memory beyond the result: a few times
    `CORRELATION_BYTES`, and float32 features and logits of 8 slices.
    Raises SupportError when the organ is on no support slice.
    """
    settings = settings or PrototypeSettings()
    mode = threshold_mode(settings, organ)
    prototypes = learn_prototypes(support_features, support_masks, settings, mode=mode, stride=stride)
    height, width = size or (int(support_masks.shape[-2]), int(support_masks.shape[-1]))
    result = query_features.new_empty((len(query_features), height, width), dtype=torch.float32)
    for start in range(0, len(query_features), _SLICES):
        logits = score_logits(query_features[start : start + _SLICES], prototypes, settings)
        result[start : start + _SLICES] = foreground_probability(upsample(logits, (height, width)))
    return result


def learn_prototypes(
    features: Tensor, masks: Tensor, settings: PrototypeSettings, *, mode: ThresholdMode = "fixed", stride: int = 8
) -> Prototypes:
    """The prototypes the chosen method works with; shapes as in `extract_prototypes`."""
    if settings.method == "panet":
        return global_prototypes(features, masks)
    return extract_prototypes(features, masks, settings, mode=mode, stride=stride)


def score_logits(query: Tensor, prototypes: Prototypes, settings: PrototypeSettings) -> Tensor:
    """Scaled background and foreground scores of each feature cell: (Z, D, h, w) to (Z, 2, h, w).

    Divide by `logit_scale` for the similarity in [-1, 1]. Differentiable in both arguments; where no gradient is
    wanted, the correlation matrix is never larger than `CORRELATION_BYTES`, however many slices and prototypes.
    """
    z, d, h, w = query.shape
    vectors = query.float().permute(0, 2, 3, 1).reshape(-1, d)  # (Z * h * w, D)
    score = correlation_weighted_scores if settings.method == "cowpro" else best_prototype_scores
    sides = [
        torch.cat([score(part, side, settings) for part in torch.split(vectors, _rows(vectors, side))])
        for side in (prototypes.background, prototypes.foreground)
    ]
    return settings.logit_scale * torch.stack(sides).view(2, z, h, w).transpose(0, 1)


def correlation_weighted_scores(query: Tensor, prototypes: Tensor, settings: PrototypeSettings) -> Tensor:
    """Similarity of each query vector to the prototype aggregated for it: (M, D) and (P, D) to (M,).

    Source: thesis equations 7.4 to 7.10. Both sides are centred over channels (7.4, 7.5) and brought to unit length
    (the text says cosine, the formula is a plain product, B7-05); M_c = correlation (7.6); M_prob = softmax of M_c / t
    over prototypes (7.7); the aggregated prototype is the M_prob-weighted mean (7.8) and the score its product with
    the query (7.9, 7.10). Because the product is linear this is the M_prob-weighted mean of M_c, which is how it is
    computed unless `renormalise` brings the aggregated prototype back to unit length first (B7-08).
    `top_percent` keeps the most similar ceil(percent x P) prototypes of each query vector, at least one (7.5.4.3).
    """
    query, prototypes = unit_centred(query, eps=settings.eps), unit_centred(prototypes, eps=settings.eps)
    correlation = query @ prototypes.T  # (M, P)
    kept = keep_top(correlation, settings.top_percent)
    weights = torch.softmax(kept / settings.temperature, dim=1)
    if not settings.renormalise:
        return (weights * correlation).sum(1)
    aggregated = F.normalize(weights @ prototypes, dim=1, eps=settings.eps)
    return (aggregated * query).sum(1)


def unit_centred(vectors: Tensor, *, eps: float) -> Tensor:
    """(M, D) vectors minus their own channel mean, divided by their length or by `eps` when they are shorter."""
    return F.normalize(vectors - vectors.mean(1, keepdim=True), dim=1, eps=eps)


def keep_top(correlation: Tensor, percent: float) -> Tensor:
    """(M, P) with all but the largest max(1, ceil(percent / 100 x P)) entries of each row at minus infinity."""
    count = correlation.shape[1]
    # Rounded first: 55 % of 100 must be 55, although 0.55 * 100 in floating point is a little more.
    k = max(1, -int(-round(percent / 100.0 * count, 9) // 1))
    if k >= count:
        return correlation
    best = correlation.topk(k, dim=1)
    return torch.full_like(correlation, -torch.inf).scatter(1, best.indices, best.values)


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(Z, 2, h, w) logits to image resolution, bilinear: logits are interpolated, not labels (B7-20)."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def foreground_probability(logits: Tensor) -> Tensor:
    """(Z, 2, H, W) logits of background and foreground to (Z, H, W) probability of foreground (equation 7.11)."""
    return torch.sigmoid(logits[:, 1] - logits[:, 0])


def merge_organs(probabilities: Mapping[int, Tensor], *, least: float = 0.5) -> Tensor:
    """One label map from one-vs-rest probabilities: the organ with the highest foreground score wins.

    probabilities: organ value to (Z, H, W) in [0, 1]. A voxel where no organ exceeds `least` is background; of equal
    organs the one that comes first wins. Returns (Z, H, W) int32.
    """
    if not probabilities:
        raise ValueError("no organ to merge")
    best: Tensor | None = None
    for value, probability in probabilities.items():
        if best is None:
            best = probability.clone()
            labels = torch.where(probability > least, value, 0).to(torch.int32)
            continue
        wins = probability > best
        labels = torch.where(wins & (probability > least), value, labels)
        best = torch.where(wins, probability, best)
    return labels


def _rows(vectors: Tensor, prototypes: Tensor) -> int:
    """Query vectors to score at once; all of them when the graph for the gradient keeps every matrix anyway."""
    if torch.is_grad_enabled() and (vectors.requires_grad or prototypes.requires_grad):
        return max(1, len(vectors))
    return max(1, CORRELATION_BYTES // (4 * max(len(prototypes), vectors.shape[1])))
