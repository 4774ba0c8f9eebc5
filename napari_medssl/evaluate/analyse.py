"""What can be said of an encoder without a downstream task: its space, its layers, its statistics, its curvature."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.evaluate.activations import stage_features
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.data import spread
from napari_medssl.evaluate.embed import stack
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Constant
from napari_medssl.metrics.batchnorm import bn_distance, bn_statistics, recollect
from napari_medssl.metrics.cka import cka_table
from napari_medssl.metrics.hessian import Spectrum, loss_spectrum
from napari_medssl.metrics.measure import Measure
from napari_medssl.metrics.pca import principal_components
from napari_medssl.metrics.representation import (
    alignment,
    effective_rank,
    inter_class_uniformity,
    tolerance,
    uniformity,
)
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.views2d import SliceViews, ViewSettings
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.transforms.view_presets import ViewPreset

_STRENGTHS: tuple[ViewPreset, ...] = ("s1", "s2", "s3", "s4", "s5", "s6")


@dataclass(frozen=True)
class AnalyseSettings:
    """How much is looked at."""

    slices_per_scan: int = setting(16, "Slices of each scan, at even distances.", ge=1, le=1000)
    pairs: int = setting(64, "Slices that are seen twice, for alignment.", ge=2, le=10_000)
    views: ViewPreset = setting("medical", "How two views of a slice differ.")
    strengths: bool = setting(True, "Also the alignment of views of the strengths S1 to S6 of paper 002.")
    hessian_steps: int = setting(
        0, "Lanczos steps for the curvature; 0: leave it out. Thesis 5 takes 100.", ge=0, le=500
    )
    hessian_slices: int = setting(8, "Slices of the batch whose loss is curved.", ge=2, le=512)
    temperature: float = setting(0.5, "Of the contrastive loss whose curvature is measured.", ge=0.01, le=10)
    seed: int = setting(0, "Of the views and of the Lanczos start.", ge=0)


@dataclass(frozen=True, eq=False)
class Analysis:
    """name: of the weights. scores: name to value or the reason why there is none.
    stages: name to (N, C) mean features of the same slices in the same order. picture: (N, 2) principal components of
    the output, and shares: of their variance. spectrum: of the loss, when it was asked for.
    """

    name: str
    scores: dict[str, Measure]
    stages: dict[str, Tensor]
    picture: np.ndarray
    shares: np.ndarray
    spectrum: Spectrum | None = None


def analyse_steps(
    candidate: Candidate,
    scans: Sequence[Scan],
    settings: AnalyseSettings = AnalyseSettings(),
    *,
    policy: DevicePolicy,
    encoder: Any = None,
) -> Steps[Analysis]:
    """Label-free scores of the candidate's encoder (or of another one of its architecture) on slices of `scans`.

    Slices with the same set of organs are one class for tolerance and the uniformity between classes, where there are
    masks; ours, because documents have classes of whole images. The curvature is that of InfoNCE of the encoder's mean
    features on a fixed batch, in eval mode, by all its weights; the projector of the pretraining is not kept, so it is
    not the loss that was trained.
    """
    encoder = candidate.encoder if encoder is None else encoder
    places = [(i, int(z)) for i, s in enumerate(scans) for z in spread(settings.slices_per_scan, len(s.image))]
    yield Progress(0, 4, "features of every stage")
    stages = stage_features(encoder, _batches(scans, places, encoder, policy), policy)
    output = stages["output"]
    scores = _space_scores(output, _organ_sets(scans, places))
    yield Progress(1, 4, "views")
    scores |= _alignments(candidate, encoder, scans, settings, policy)
    yield Progress(2, 4, "batch statistics")
    scores["bn distance"] = _shift(encoder, scans, places, policy)
    spectrum = None
    if settings.hessian_steps:
        yield Progress(3, 4, "curvature")
        spectrum = _curvature(candidate, encoder, scans, settings, policy)
        scores["negative ritz values"] = Measure(spectrum.negative_share())
        scores["largest eigenvalue"] = Measure(float(spectrum.values.max()))
    components = principal_components(output.numpy(), 2)
    return Analysis(candidate.name, scores, stages, components.project(output.numpy()), components.shares, spectrum)


def stage_similarity(first: Analysis, second: Analysis) -> list[list[float]]:
    """Linear CKA of every stage of `first` (rows) with every stage of `second`, of the same slices (S85)."""
    return cka_table(list(first.stages.values()), list(second.stages.values()))


def group_shift(candidate: Candidate, groups: Mapping[str, Sequence[Scan]], policy: DevicePolicy) -> dict[str, Measure]:
    """Distance of the batch statistics of each group alone from those of all groups mixed (MBS and TBS, S81)."""
    everything = [scan for scans in groups.values() for scan in scans]
    mixed = _collected(candidate.encoder, everything, _places(everything), policy)
    found = {}
    for name, scans in groups.items():
        own = _collected(candidate.encoder, scans, _places(scans), policy)
        found[name] = Measure(bn_distance(mixed, own)) if own else _no_norm()
    return found


def _space_scores(output: Tensor, classes: Tensor | None) -> dict[str, Measure]:
    spread_out = float(uniformity(output))
    return {
        "uniformity": Measure(spread_out),
        "uniformity magnitude": Measure(-spread_out),
        "effective rank": Measure(float(effective_rank(output))),
        "inter-class uniformity": _of_classes(inter_class_uniformity, output, classes),
        "tolerance": _of_classes(tolerance, output, classes),
    }


def _of_classes(measure: Callable[[Tensor, Tensor], Tensor], output: Tensor, classes: Tensor | None) -> Measure:
    if classes is None:
        return Measure(None, "no masks, so no classes")
    try:
        return Measure(float(measure(output, classes)))
    except ValueError as error:  # too few classes or pairs
        return Measure(None, str(error))


def _organ_sets(scans: Sequence[Scan], places: Sequence[tuple[int, int]]) -> Tensor | None:
    """A class number per slice: equal when slices of one data set show the same organs; None without masks."""
    if any(scans[i].labels is None for i, _ in places):
        return None
    shown = [(scans[i].group, *np.unique(scans[i].labels[z]).tolist()) for i, z in places]  # type: ignore[index]
    return torch.tensor([sorted(set(shown)).index(s) for s in shown])


def _alignments(
    candidate: Candidate, encoder: Any, scans: Sequence[Scan], settings: AnalyseSettings, policy: DevicePolicy
) -> dict[str, Measure]:
    wanted = (settings.views, *(_STRENGTHS if settings.strengths else ()))
    found = {}
    for preset in dict.fromkeys(wanted):
        pairs = [
            (_embed(encoder, a, policy), _embed(encoder, b, policy))
            for a, b in _views(candidate, encoder, scans, preset, settings.pairs, settings.seed, policy.batch_size)
        ]
        first, second = (torch.cat(side) for side in zip(*pairs, strict=True))
        found["alignment" if preset == settings.views else f"alignment {preset}"] = Measure(
            float(alignment(first, second))
        )
    return found


def _embed(encoder: Any, images: Tensor, policy: DevicePolicy) -> Tensor:
    with policy.running():
        return pooled(encoder(policy.send(images))).float().cpu()


def _views(
    candidate: Candidate, encoder: Any, scans: Sequence[Scan], preset: ViewPreset, count: int, seed: int, batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of views (B, C, size, size) of random slices; the same slices for every preset."""
    task = SliceViews(ViewSettings(preset=preset, size=candidate.size), encoder.in_slices)
    drawn = [task.draw(scans, np.random.default_rng([seed, n])) for n in range(count)]
    for first in range(0, count, batch):
        part = drawn[first : first + batch]
        views = task.prepare({name: torch.stack([d[name] for d in part]) for name in part[0]})
        yield views["view1"], views["view2"]


def _places(scans: Sequence[Scan], count: int = 16) -> list[tuple[int, int]]:
    return [(i, int(z)) for i, s in enumerate(scans) for z in spread(count, len(s.image))]


def _batches(
    scans: Sequence[Scan], places: Sequence[tuple[int, int]], encoder: Any, policy: DevicePolicy
) -> Iterator[Tensor]:
    for first in range(0, len(places), policy.batch_size):
        yield stack(scans, places[first : first + policy.batch_size], encoder.in_slices)


def _collected(encoder: Any, scans: Sequence[Scan], places: Sequence[tuple[int, int]], policy: DevicePolicy) -> Any:
    """Statistics of a copy of the encoder on these slices, in shuffled full batches; empty without batch norm."""
    if not bn_statistics(encoder):
        return {}
    network = copy.deepcopy(encoder)
    shuffled = [places[n] for n in np.random.default_rng(0).permutation(len(places))]
    whole = len(shuffled) // policy.batch_size * policy.batch_size or len(shuffled)
    return recollect(network, (b.to(policy.device) for b in _batches(scans, shuffled[:whole], encoder, policy)))


def _shift(encoder: Any, scans: Sequence[Scan], places: Sequence[tuple[int, int]], policy: DevicePolicy) -> Measure:
    """Distance of the statistics the weights came with from those of the data."""
    own = _collected(encoder, scans, places, policy)
    return Measure(bn_distance(bn_statistics(encoder), own)) if own else _no_norm()


def _no_norm() -> Measure:
    return Measure(None, "the encoder has no batch normalisation")


def _curvature(
    candidate: Candidate, encoder: Any, scans: Sequence[Scan], settings: AnalyseSettings, policy: DevicePolicy
) -> Spectrum:
    network = copy.deepcopy(encoder).float()
    views = _views(candidate, encoder, scans, settings.views, settings.hessian_slices, settings.seed, 10**9)
    first, second = (v.to(policy.device) for v in next(views))
    temperature = Constant(settings.temperature)

    def loss() -> Tensor:
        return info_nce(pooled(network(first)), pooled(network(second)), temperature)

    generator = torch.Generator().manual_seed(settings.seed)
    return loss_spectrum(network, loss, steps=settings.hessian_steps, generator=generator)
