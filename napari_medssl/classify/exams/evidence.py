"""Where in a scan an exam classifier sees a label."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_medssl.classify.exams.model import ExamModel
from napari_medssl.classify.explain import ExplainSettings, Explanation, as_bag, explain_steps, framed_slices
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

ENCODER = "encoder"
"""The layer whose cells Grad-CAM weighs: the last maps of the encoder, for SKID its second reduction block (S19)."""


def evidence_steps(
    model: ExamModel,
    plane: str,
    volume: Volume,
    label: int,
    *,
    device: torch.device,
    settings: ExplainSettings | None = None,
) -> Steps[Explanation]:
    """Evidence for the label with this number in all slices of one plane of an exam, judged together.

    All slices are shown, whatever number was drawn in training, so that no slice is left empty by chance.

    Under divide and teach a slice's map is that of the branch it is dealt to. Grad-CAM++, which needs a layer that is
    nowhere below 0, asks the encoder's last such one with a map for each slice.

    Raises SettingsError as `explain_steps`.
    """
    network = model.networks[plane].to(device)
    settings = settings or ExplainSettings()
    if settings.method == "gradcam" and not settings.layer:
        settings = replace(settings, layer=ENCODER)
    shown = replace(as_bag(framed_slices(volume, network.encoder, size=model.source.size)), within=ENCODER)
    return (yield from explain_steps(network, shown, target=label, settings=settings, name=model.labels[label]))
