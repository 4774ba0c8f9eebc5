"""Where exam classifiers look: one map for each slice, whatever stands behind the encoder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.classify.exams.evidence import evidence_steps
from napari_medssl.classify.explain import ExplainSettings
from napari_medssl.models.divided_branches import DividedBranches
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_heads import build_head
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.progress import finish
from napari_medssl.volume import Volume

SCAN = Volume(np.random.default_rng(0).uniform(0, 200, (10, 24, 24)).astype(np.float32), np.diag([4.0, 1, 1, 1]), "MR")


def model_of(encoder: Any, head: str) -> Any:
    """What the evidence asks of a classifier, with one plane and two labels."""
    built = build_head(head, int(encoder.channels), 2, width=0.03)
    network = ExamNetwork(encoder, built).eval()
    return SimpleNamespace(networks={"": network}, source=SimpleNamespace(size=48), labels=("a", "b"))


def evidence_of(model: Any, method: Any = "gradcam") -> Any:
    settings = ExplainSettings(method=method, weigh=False)
    return finish(evidence_steps(model, "", SCAN, 1, device=torch.device("cpu"), settings=settings))


def test_divide_and_teach_shows_the_branch_of_each_slice() -> None:
    torch.manual_seed(0)
    trunk = build_encoder("sslacl-trunk", width=0.03, input_size=48)
    found = evidence_of(model_of(DividedBranches(trunk), "divide"))
    assert found.maps.shape[0] == len(SCAN.data)
    assert found.report["layer"] == "encoder"
    assert found.evidence.shape == SCAN.shape


@pytest.mark.parametrize("name", ["slice-resnet", "resnet18-s8"])
def test_gradcam_plus_plus_takes_a_layer_that_is_nowhere_negative(name: str) -> None:
    torch.manual_seed(0)
    model = model_of(build_encoder(name, width=8, channels=16), "max")
    assert evidence_of(model).report["layer"] == "encoder"
    seen: list[torch.Tensor] = []
    found = evidence_of(model, "gradcam++")
    assert found.report["layer"].startswith("encoder.")
    layer = dict(model.networks[""].named_modules())[found.report["layer"]]
    hook = layer.register_forward_hook(lambda *call: seen.append(call[2]))
    model.networks[""](torch.rand(1, 10, model.networks[""].encoder.in_slices, 48, 48))
    hook.remove()
    assert seen[0].min() >= 0
    assert found.maps.shape[0] == len(SCAN.data)


def test_integrated_gradients_of_an_exam() -> None:
    torch.manual_seed(0)
    found = evidence_of(model_of(build_encoder("resnet18-s8", width=8, channels=16), "attention"), "integrated")
    assert found.evidence.shape == SCAN.shape
    assert found.maps.min() >= 0
    assert found.maps.shape[1:] == (12, 12)
    assert found.per_slice.max() > 0.5
