"""Judging exams by several draws of their slices: what a network says on average, and how far the draws agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.classify.exams.features import FeatureStore, KeptFeatures, slices_of
from napari_medssl.classify.exams.sampling import draw_slices
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.table import LabelKind
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.progress import Progress, Steps

FloatArray = npt.NDArray[np.float64]


def drawn_slices(scan: Scan, settings: ExamSettings) -> list[npt.NDArray[np.intp]]:
    """The slices of each draw of a scan: always the same ones for the same settings; one draw where all are taken."""
    depth = len(scan.image)
    count = 1 if settings.test_sampling == "all" or depth <= settings.slices else settings.draws
    draws = [np.random.default_rng([settings.seed, 31, n, depth]) for n in range(count)]
    return [draw_slices(depth, settings.slices, settings.test_sampling, rng) for rng in draws]


def judge_scan(
    network: ExamNetwork, scan: Scan, settings: ExamSettings, *, kind: LabelKind, channels: int, device: torch.device,
    store: FeatureStore | None = None,
) -> Steps[FloatArray]:  # fmt: skip
    """(draws, L) probabilities of one scan. store: of features of this encoder, as `KeptFeatures`.

    Each draw's output is a probability before they are averaged (B3-43). A frozen view of a slice is computed once,
    however many draws have it, except for divide and teach, where its place in the draw matters.
    """
    network.eval()
    draws = drawn_slices(scan, settings)
    kept = KeptFeatures(network, [scan], channels, device, store) if network.per_slice else None
    found = []
    for n, drawn in enumerate(draws):
        yield Progress(n, len(draws), "judging")
        if kept is not None:
            features = yield from kept.of(0, drawn)
            with torch.inference_mode():
                logits = network.decide(features[None].to(device))
        else:
            with torch.inference_mode():
                logits = network(to_float(slices_of(scan, drawn, channels).to(device))[None])
        answer = logits.softmax(1) if kind == "one" else logits.sigmoid()
        found.append(answer[0].double().cpu().numpy())
    return np.stack(found)
