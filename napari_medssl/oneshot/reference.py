"""The published prototype path on a whole volume: labelled slices to prototypes, prototypes to every slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_medssl.labels import Label
from napari_medssl.models.slices import mask_to_frame, out_of_frame
from napari_medssl.oneshot.cowpro import learn_prototypes, score_logits
from napari_medssl.oneshot.prototype_settings import threshold_mode
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.oneshot.segmenter import Models

_CHUNK = 16


def reference_steps(
    query: Volume,
    supports: Sequence[Support],
    organs: Sequence[Label],
    *,
    models: Models,
    settings: SegmentSettings,
    slice_range: tuple[int, int] | None,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability (Z, Y, X) float16 of every organ by prototypes alone (S58-S60, S62).

    All labelled slices give one union of prototypes for the whole range.
    """
    stack = yield from models.features_steps(query)
    stacks = []
    for support in supports:
        stacks.append((yield from models.features_steps(support.volume)))
    low, high = slice_range or (0, query.shape[0])
    maps = {}
    for i, organ in enumerate(organs):
        yield Progress(i, len(organs), f"matching {organ.name}")
        features, masks = [], []
        for support, s in zip(supports, stacks, strict=True):
            rows = [z for z in support.slices if (support.mask[z] == organ.value).any()]
            if rows:
                features.append(s.data[rows].float())
                masks.append(mask_to_frame(support.mask[rows] == organ.value, s.frame))
        with torch.inference_mode():
            mode = threshold_mode(settings.prototypes, organ.name)
            prototypes = learn_prototypes(
                torch.cat(features), torch.cat(masks), settings.prototypes, mode=mode, stride=stack.stride
            )
            found = np.zeros(query.shape, np.float16)
            for start in range(low, high, _CHUNK):
                stop = min(start + _CHUNK, high)
                scores = score_logits(stack.data[start:stop], prototypes, settings.prototypes)
                logits = out_of_frame(scores[:, 1] - scores[:, 0], stack.frame)
                found[start:stop] = torch.sigmoid(logits).numpy().astype(np.float16)
        maps[organ.value] = found
    return maps
