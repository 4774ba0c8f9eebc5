"""Where in a scan the evidence for a class lies, as a volume on the scan's own grid."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.classify.explain.cam import activation_maps
from napari_medssl.classify.explain.integrated import COMPLETE, baseline_of, integrated_gradients
from napari_medssl.classify.explain.layers import check_layer, default_layer
from napari_medssl.classify.explain.occlusion import OneOfBag, occlusion_map
from napari_medssl.classify.explain.patches import patch_maps, patched_trunk
from napari_medssl.classify.explain.place import FloatArray
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Shown
from napari_medssl.engine.batches import run_batches
from napari_medssl.engine.device import DevicePolicy, policy_for
from napari_medssl.errors import SettingsError
from napari_medssl.geometry import world_from_index
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.settings import check, to_dict
from napari_medssl.volume import Volume

PATCHES = "the nine branches"
"""What the report calls the layer when a network of patches is asked branch by branch."""

_KEPT = 64  # cells along a side that a map of occlusion is kept with until it is placed
_TOGETHER = 4  # ours: pixels a side whose gradients are added up, as many as a cell of the default encoder has


@dataclass(frozen=True, eq=False)
class Explanation:
    """Evidence for one class.

    evidence: float32 in [0, 1] on the scan's grid; an image to be laid over the scan by addition. 1 is the strongest
        evidence found, whatever the class's score: a map says where, not whether.
    maps: (A, *cells) float32 as the network has them, not scaled or weighed. per_slice: (Z,) the largest of each slice.
    report: how it was made, in plain JSON values.
    """

    evidence: Volume
    maps: Tensor
    per_slice: FloatArray
    report: dict[str, Any]


def explain(model: nn.Module, shown: Shown, **options: Any) -> Explanation:
    """`explain_steps` run to the end."""
    return finish(explain_steps(model, shown, **options))


def explain_steps(
    model: nn.Module, shown: Shown, *, target: int, settings: ExplainSettings | None = None,
    weights: FloatArray | None = None, name: str = "",
) -> Steps[Explanation]:  # fmt: skip
    """Evidence for a class in everything the network was shown of a scan.

    model: maps the inputs of `shown` to scores (B, classes) before softmax or sigmoid; left as it was.
    target: number of the class. name: of the class, for the report.
    weights: (count,) in [0, 1], how much each slice shows the class, such as its probability; with `settings.weigh` its
        map is multiplied by it. None weighs nothing.

    Works in batches on the model's device; beside the result only maps of some thousand cells per slice are kept.
    Nothing is left behind when the caller stops asking. Raises SettingsError, WeightsError, VolumeError and
    OutOfMemoryError as `activation_maps`, `occlusion_map` and `run_batches` do.
    """
    settings = settings or ExplainSettings()
    check(settings)
    start = time.perf_counter()
    notes: list[str] = []
    layer, maps = yield from found_maps(model, shown, target, settings, notes)
    scaled, strongest = _scaled(maps, shown, settings, weights)
    data = yield from shown.onto_grid(scaled, settings.between)
    np.clip(data, 0, 1, out=data)
    source = shown.source
    evidence = Volume(data, source.affine, native=source.native, source=source.source)
    facts = {
        "class": {"number": target, "name": name}, "settings": to_dict(settings), "layer": layer,
        "cells": list(maps.shape[1:]), "maps": len(maps), "slices": list(shown.slices), "strongest": strongest,
        "weights": None if weights is None else [float(w) for w in weights],
        "peak": _peak(evidence), "source": source.content_hash, "device": str(device_of(model)),
        "seconds": round(time.perf_counter() - start, 3),
        "notes": [*shown.notes, *notes, *_remarks(strongest, shown, maps)],
    }  # fmt: skip
    return Explanation(evidence, maps, data.max(axis=(1, 2)), facts)


def found_maps(
    model: nn.Module, shown: Shown, target: int, settings: ExplainSettings, notes: list[str] | None = None
) -> Steps[tuple[str, Tensor]]:
    """The layer that was asked (empty for methods that ask none) and its maps, (A, *cells) float32 on the CPU, not
    scaled.

    notes: filled with sentences on how the maps came out.
    """
    policy = policy_for(device_of(model))
    layer = yield from _layer(model, shown, settings, policy)
    if settings.method == "integrated":
        return layer, (yield from _integrated(model, shown, target, settings, policy.device, notes))
    maps = yield from _maps(model, shown, target, layer, settings, policy)
    return layer, maps


def device_of(model: nn.Module) -> torch.device:
    """Where a network computes."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((t.device for t in tensors), torch.device("cpu"))


def example_of(shown: Shown) -> Tensor:
    """One input as the network takes it, for asking it what layers it has."""
    items = shown.bags[0] if shown.bags else range(1)
    shown.before(items)
    return shown.inputs(items)[None] if shown.bags else shown.inputs(items)


def _layer(model: nn.Module, shown: Shown, settings: ExplainSettings, policy: DevicePolicy) -> Steps[str]:
    yield Progress(0, 0, "looking at the network")
    if settings.method in ("occlusion", "integrated"):
        return ""
    if not (settings.layer or shown.bags) and patched_trunk(model) is not None:
        return PATCHES
    example = example_of(shown).to(policy.device)
    if not settings.layer:
        per_slice = len(shown.bags[0]) if shown.bags else 0
        rectified = settings.method == "gradcam++"
        return default_layer(model, example, rectified=rectified, maps=per_slice, within=shown.within)
    check_layer(model, settings.layer, example)
    return settings.layer


def _maps(
    model: nn.Module, shown: Shown, target: int, layer: str, settings: ExplainSettings, policy: DevicePolicy
) -> Steps[Tensor]:
    if settings.method == "occlusion":
        return (yield from _occluded(model, shown, target, settings, policy.device))
    method = settings.method
    assert method != "integrated"  # `found_maps` has seen to it

    def run(items: range, on: DevicePolicy) -> Tensor:
        wanted = shown.bags[items.start] if shown.bags else items  # a bag at a time
        shown.before(wanted)
        batch = shown.inputs(wanted).to(policy.device)
        if layer == PATCHES:
            return _smaller(patch_maps(model, batch, target=target, method=method))
        return activation_maps(model, batch[None] if shown.bags else batch, target=target, layer=layer, method=method)

    count, size = (len(shown.bags), 1) if shown.bags else (shown.count, settings.batch)
    done = yield from run_batches(run, count, policy=policy, label="explaining", batch_size=size)
    maps = torch.cat(done.results)
    maps = maps.mean(1) if shown.slices and maps.ndim == 4 else maps  # a slab's cells along z stand for its slice
    if shown.slices and len(maps) != shown.count:
        raise SettingsError(
            f"the layer {layer!r} gives {len(maps)} maps for {shown.count} slices; choose a layer that sees each slice "
            "once"
        )
    return maps


def _occluded(
    model: nn.Module, shown: Shown, target: int, settings: ExplainSettings, device: torch.device
) -> Steps[Tensor]:
    """Maps of hidden patches, one slice (or volume) after the other."""
    kept = []
    for items in shown.bags or [range(n, n + 1) for n in range(shown.count)]:
        shown.before(items)
        images = shown.inputs(items).to(device)
        for n, place in enumerate(items):
            yield Progress(place, shown.count, "hiding parts")
            asked = OneOfBag(model, images[None], n) if shown.bags else model
            kept.append(_smaller(occlusion_map(asked, images[n : n + 1], target=target, settings=settings)[None]))
    return torch.cat(kept)


def _integrated(
    model: nn.Module, shown: Shown, target: int, settings: ExplainSettings, device: torch.device,
    notes: list[str] | None,
) -> Steps[Tensor]:  # fmt: skip
    """What parts of the slices (or volume) add to the score, at least 0: what speaks against the class is cut off after
    neighbouring pixels were added up, which undo each other to a large part (ours)."""
    kept, worst = [], 0.0
    for items in shown.bags or [range(n, n + 1) for n in range(shown.count)]:
        yield Progress(items.start, shown.count, "summing gradients")
        shown.before(items)
        images = shown.inputs(items).to(device)
        start = baseline_of(images, settings.fill)
        if shown.bags:
            images, start = images[None], start[None]
        found = integrated_gradients(model, images, target=target, baseline=start)
        added = found.added[0] if shown.bags else found.added
        kept.append(_smaller(added.sum(1), _TOGETHER).clamp(min=0))
        worst = max(worst, found.gap)
    if worst > COMPLETE and notes is not None:
        notes.append(f"what the pixels add is up to {worst:.0%} off the score: the network bends sharply on the way")
    return torch.cat(kept)


def _smaller(maps: Tensor, pixels: int = 1) -> Tensor:
    """(N, *sides) kept with fewer cells of `pixels` a side or more: parts are far larger than a pixel, and scans may
    have many slices."""
    size = [max(1, min(n // pixels, _KEPT)) for n in maps.shape[1:]]
    return F.interpolate(maps[:, None], size=size, mode="area")[:, 0]


def _scaled(maps: Tensor, shown: Shown, settings: ExplainSettings, weights: FloatArray | None) -> tuple[Tensor, float]:
    """Maps from 0 to 1 and the value that became 1 (the largest of all)."""
    if weights is not None and len(weights) != len(maps):
        raise ValueError(f"{len(weights)} weights for {len(maps)} maps; give one for each slice")
    sides = (1,) * (maps.ndim - 1)
    weighed = maps if weights is None or not settings.weigh else maps * torch.as_tensor(weights).reshape(-1, *sides)
    each = maps.flatten(1).amax(1) if settings.scale == "slice" else weighed.max().expand(len(maps))
    scaled = weighed / torch.where(each > 0, each, 1.0).reshape(-1, *sides)
    return scaled, float(weighed.max())


def _peak(evidence: Volume) -> dict[str, Any] | None:
    index = np.unravel_index(int(evidence.data.argmax()), evidence.shape)
    if not evidence.data[index] > 0:
        return None
    place = world_from_index(evidence, [int(i) for i in index])
    return {"zyx": [int(i) for i in index], "ras_mm": [round(float(v), 2) for v in place]}


def _remarks(strongest: float, shown: Shown, maps: Tensor) -> list[str]:
    notes = []
    if strongest <= 0:
        notes.append("nothing in the scan speaks for this class in this layer; the evidence is 0 everywhere")
    if shown.slices and len(set(shown.slices)) < shown.source.shape[0]:
        notes.append(f"the network was shown {len(set(shown.slices))} of {shown.source.shape[0]} slices")
    return notes
