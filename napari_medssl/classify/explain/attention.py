"""Which slices an answer about a whole examination rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_medssl.classify.explain.explain import device_of
from napari_medssl.classify.explain.modes import looking
from napari_medssl.classify.explain.place import FloatArray
from napari_medssl.classify.explain.shown import Shown
from napari_medssl.errors import SettingsError
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume


def attention_volume(shares: FloatArray, slices: Sequence[int], source: Volume) -> Volume:
    """Attention over slices as an image: (Z, Y, X) float32, every slice of one value, 1 on the one that counts most.

    shares: (S,) at least 0, of an attention head (`SliceScores.attention`, `AttentionHead.attention`). slices: the
    number in the scan of each; one that is named several times, by several draws, gets their mean. Others are 0.

    Raises ValueError when there are not as many shares as slices.
    """
    if len(shares) != len(slices):
        raise ValueError(f"{len(shares)} shares of attention for {len(slices)} slices")
    total, count = np.zeros(source.shape[0]), np.zeros(source.shape[0])
    np.add.at(total, np.asarray(slices), shares)
    np.add.at(count, np.asarray(slices), 1)
    values = total / np.maximum(count, 1)
    values /= max(values.max(), 1e-12)
    data = np.broadcast_to(values[:, None, None], source.shape).astype(np.float32)
    return Volume(data, source.affine, native=source.native, source=source.source)


def exam_attention(network: ExamNetwork, shown: Shown) -> FloatArray | None:
    """(count,) shares of attention of the slices, summing to 1 in each bag; None when the head has no attention."""
    attention = getattr(network.head, "attention", None)
    if attention is None:
        return None
    shares = []
    for items in shown.bags:
        shown.before(items)
        with looking(network), torch.inference_mode():
            features = network.features(shown.inputs(items).to(device_of(network))[None])
            shares.append(attention(features)[0].float().cpu())
    return np.asarray(torch.cat(shares).numpy(), np.float32)


def slice_drops(model: nn.Module, shown: Shown, **options: Any) -> FloatArray:
    """`slice_drops_steps` run to the end."""
    return finish(slice_drops_steps(model, shown, **options))


def slice_drops_steps(model: nn.Module, shown: Shown, *, target: int) -> Steps[FloatArray]:
    """(count,) what leaving out a slice costs the class, for examination networks of every kind.

    model: maps (1, S, C, y, x) to scores (1, classes). Negative where the class gains. A network without attention says
    nothing of slices by itself; this asks it with each slice missing in turn (ours; occlusion of whole slices).

    Raises SettingsError when the slices are not judged together or a bag has one slice alone.
    """
    if not shown.bags or min(map(len, shown.bags)) < 2:
        raise SettingsError("slices can be left out where two or more are judged together; this is no such network")
    device = device_of(model)
    drops = np.zeros(shown.count, np.float32)
    for items in shown.bags:
        shown.before(items)
        images = shown.inputs(items).to(device)
        for n, place in enumerate(items):
            yield Progress(place, shown.count, "leaving out slices")
            with looking(model), torch.inference_mode():
                whole = model(images[None])[0, target]
                rest = model(torch.cat([images[:n], images[n + 1 :]])[None])[0, target]
            drops[place] = float(whole - rest)
    return drops
