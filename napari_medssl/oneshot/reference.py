"""The published prototype path on a whole volume: labelled slices to prototypes, prototypes to every slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.labels import Label
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import mask_to_frame, out_of_frame
from napari_medssl.oneshot.cowpro import learn_prototypes, score_logits
from napari_medssl.oneshot.parts import serving_slices
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, threshold_mode
from napari_medssl.oneshot.provider import Models
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

_CHUNK = 16

Pair = tuple[Support, FeatureStack]


def reference_steps(
    query: Volume,
    supports: Sequence[Support],
    organs: Sequence[Label],
    *,
    models: Models,
    settings: SegmentSettings,
    slice_range: tuple[int, int] | None,
    across: bool,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability (Z, Y, X) float16 of every organ by prototypes alone (S58-S60, S62).

    With `settings.parts`, a given `slice_range` and supports on other scans (`across`), each labelled slice serves
    its part of the range, as published; otherwise all labelled slices give one union of prototypes.
    """
    stack = yield from models.features_steps(query)
    pairs: list[Pair] = []
    for support in supports:
        pairs.append((support, (yield from models.features_steps(support.volume))))
    span = slice_range or (0, query.shape[0])
    by_part = settings.parts and across and slice_range is not None
    maps = {}
    for i, organ in enumerate(organs):
        yield Progress(i, len(organs), f"matching {organ.name}")
        found = np.zeros(query.shape, np.float16)
        with torch.inference_mode():
            for rows, labelled in _shares(pairs, organ.value, span, by_part=by_part):
                features, masks = _examples(labelled, organ.value)
                found[rows] = match_slices(stack, rows, features, masks, settings.prototypes, organ=organ.name)
        maps[organ.value] = found
    return maps


def _shares(
    pairs: Sequence[Pair], organ: int, span: tuple[int, int], *, by_part: bool
) -> Iterator[tuple[list[int], list[tuple[Pair, list[int]]]]]:
    """Query slices together with the labelled slices of each support that serve them."""
    holding = [(p, [z for z in p[0].slices if (p[0].mask[z] == organ).any()]) for p in pairs]
    holding = [(p, slices) for p, slices in holding if slices]
    rows = list(range(*span))
    if not by_part:
        yield from ((rows[a : a + _CHUNK], holding) for a in range(0, len(rows), _CHUNK))
        return
    serving = [serving_slices(slices, span) for _, slices in holding]
    groups: dict[tuple[int, ...], list[int]] = {}
    for z in rows:
        groups.setdefault(tuple(s[z] for s in serving), []).append(z)
    for key, members in groups.items():
        yield members, [(p, [z]) for (p, _), z in zip(holding, key, strict=True)]


def _examples(labelled: Sequence[tuple[Pair, list[int]]], organ: int) -> tuple[Tensor, Tensor]:
    """Features (N, D, h, w) and masks (N, S, S) of labelled slices."""
    features = [stack.data[slices].float() for (_, stack), slices in labelled]
    masks = [mask_to_frame(s.mask[slices] == organ, stack.frame) for (s, stack), slices in labelled]
    return torch.cat(features), torch.cat(masks)


def match_slices(
    stack: FeatureStack,
    rows: Sequence[int],
    features: Tensor,
    masks: Tensor,
    settings: PrototypeSettings,
    *,
    organ: str = "",
) -> np.ndarray:
    """Foreground probability (len(rows), Y, X) float16 of one organ on slices `rows` of a scan (S58-S60).

    stack: features of the scan. features, masks: (N, D, h, w) and (N, S, S) of the labelled slices, in the frame of the
    encoder. organ: its name, for the threshold of each organ. Call it where no gradient is wanted.
    """
    mode = threshold_mode(settings, organ)
    prototypes = learn_prototypes(features, masks, settings, mode=mode, stride=stack.stride)
    scores = score_logits(stack.data[list(rows)], prototypes, settings)
    return torch.sigmoid(out_of_frame(scores[:, 1] - scores[:, 0], stack.frame)).numpy().astype(np.float16)
