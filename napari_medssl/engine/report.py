"""The report of a segmentation: everything needed to tell, later, how a mask came about."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_medssl.engine.checks import Request
from napari_medssl.engine.device import DevicePolicy, describe_device
from napari_medssl.engine.weights import LoadedModels
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.support import Support
from napari_medssl.report import environment, plain
from napari_medssl.settings import digest, to_dict
from napari_medssl.volume import SoftRange, Volume


def complete_report(
    result: Segmentation,
    *,
    request: Request,
    query: Volume,
    supports: Sequence[Support],
    models: LoadedModels,
    weights_name: str,
    policy: DevicePolicy,
    seconds: Mapping[str, float],
    warnings: Sequence[str],
) -> Segmentation:
    """`result` with versions, device, weights, inputs, settings and volumes added to its report.

    query, supports: as the caller gave them, before unusable voxels were replaced. seconds: of the engine's
    own stages, beside those the result has. warnings: put before those the result has. What the result already
    reports is kept. Every value is plain JSON.
    """
    own = result.report
    exact = request.slice_range is not None and not isinstance(request.slice_range, SoftRange)
    report: dict[str, Any] = {
        **environment(),
        "device": describe_device(policy.device),
        "precision": policy.precision,
        "weights": weights_facts(models, name=weights_name),
        "inputs": {"query": _input(query), "supports": [_support(s) for s in supports]},
        "settings": to_dict(request.settings),
        "settings_digest": digest(request.settings),
        "seed": request.settings.seed,
        "slice_range": list(request.slice_range) if request.slice_range else None,
        # Published tables give the slices that hold the organ, taken from the labels: say so wherever it was done.
        "slice_range_origin": "oracle" if exact else "soft" if request.slice_range else "automatic",
        "volume_ml": volumes_ml(result.labels),
    }
    report.update(own)
    report["seconds"] = {**own.get("seconds", {}), **{k: round(v, 3) for k, v in seconds.items()}}
    report["warnings"] = list(dict.fromkeys([*warnings, *own.get("warnings", [])]))
    return dataclasses.replace(result, report=plain(report))


def weights_facts(models: LoadedModels, *, name: str) -> dict[str, Any]:
    """Name, hash, licence and encoder of the weights in use."""
    licence = models.card.get("licence", models.card.get("license"))
    return {
        "name": name,
        "sha256": models.sha256,
        "licence": licence,
        "encoder": models.encoder_name,
        "propagator": models.propagator is not None,
        "reviser": models.reviser is not None,
        "recogniser": models.recogniser is not None,
    }


def volumes_ml(labels: Volume) -> dict[str, float]:
    """Millilitres of every organ named in a label map, 0 for one that was not found; keys are label values."""
    counts = {label.value: 0 for label in labels.labels}
    for plane in labels.data:  # slice by slice: counting converts to 64-bit integers
        found = np.bincount(plane.ravel())
        for value in np.flatnonzero(found).tolist():
            if value:
                counts[value] = counts.get(value, 0) + int(found[value])
    return {str(value): round(count * labels.voxel_ml, 4) for value, count in sorted(counts.items())}


def _input(volume: Volume) -> dict[str, Any]:
    return {
        "content_sha256": volume.content_hash,
        "source": str(volume.source) if volume.source is not None else None,
        "shape": list(volume.shape),
        "spacing_mm": [round(s, 6) for s in volume.spacing_mm],
        "modality": volume.modality,
        "notes": list(volume.notes),
    }


def _support(support: Support) -> dict[str, Any]:
    return {**_input(support.volume), "slices": list(support.slices), "labels": [o.value for o in support.organs]}
