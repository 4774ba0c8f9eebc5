"""Where the encoder of an exam classifier comes from, and the network built on it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_medssl.classify.exams.settings import ExamSettings, options_of
from napari_medssl.engine.device import policy_for
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.candidate import load_candidate
from napari_medssl.models.deep_resnet import without_reduction
from napari_medssl.models.divided_branches import DividedBranches
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_heads import build_head
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.models.sslacl import SslaclTrunk

FIRST = "first"
"""The name of first weights, where weights are asked for."""


@dataclass(frozen=True, eq=False)
class EncoderSource:
    """The encoder that classifiers of several planes and folds start from.

    name: as shown to people. kind, config: of the registry. size: side of the slices. module: its weights on the CPU,
    None for first weights. sha256: of the weights file.
    """

    name: str
    kind: str
    config: dict[str, Any]
    size: int
    module: nn.Module | None
    sha256: str = ""

    @property
    def in_slices(self) -> int:
        """Neighbouring slices stacked as its channels."""
        return int(self.config.get("in_slices", 1))


def find_encoder(weights: str | Path, settings: ExamSettings) -> EncoderSource:
    """The encoder of "default", "none", another shipped set or a weights file; "first" (or "") makes the one that the
    settings name, with first weights.

    Raises WeightsError when the file is missing or damaged, SettingsError when the encoder is one of volumes or the
    settings do not fit it.
    """
    if str(weights) in (FIRST, ""):
        return _first(settings)
    found = load_candidate(weights, policy_for(torch.device("cpu")), size=settings.size)
    if found.dims != 2:
        raise SettingsError(
            f"{found.name} holds an encoder of volumes; exams are judged slice by slice, give one of slices"
        )
    module = found.trainable() if found.learns else copy.deepcopy(found.encoder)
    return EncoderSource(found.name, found.kind, dict(found.encoder.config), found.size, module, found.sha256)


def _first(settings: ExamSettings) -> EncoderSource:
    options = options_of(settings)
    try:
        with torch.device("meta"):  # thesis sizes take a gigabyte, and this only asks whether the options fit
            made: Any = build_encoder(settings.encoder, **options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"encoder_options {settings.encoder_options!r} do not fit {settings.encoder}: {error}"
        ) from error
    size = settings.size or int(getattr(made, "input_size", 192))
    stride = max(8, int(made.stride))
    if size % stride:
        raise SettingsError(f"size is {size}; this encoder needs a multiple of {stride}")
    return EncoderSource(f"{settings.encoder}, first weights", settings.encoder, dict(made.config), size, None)


def build_network(
    source: EncoderSource,
    settings: ExamSettings,
    labels: int,
    *,
    seed: int,
    encoder_seed: int = 0,
    scratch: bool = False,
) -> ExamNetwork:
    """A network on the CPU with its own copy of the encoder.

    seed: of the head's first weights. encoder_seed: of the encoder's, where it has first weights: the same for all
    planes, because a frozen encoder is kept once for all of them. scratch: first weights in the encoder too.

    Raises SettingsError when the head does not fit the encoder, or nothing of the encoder can be trained although the
    settings ask for it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(encoder_seed)
        first = source.module is None or scratch
        encoder: Any = build_encoder(source.kind, **source.config) if first else copy.deepcopy(source.module)
        torch.manual_seed(seed)
        network = assemble(encoder, settings, labels)
    if settings.mode != "frozen" and next(network.encoder.parameters(), None) is None:
        raise SettingsError(f"{source.name} has no weights to train; choose mode=frozen")
    return network


def assemble(encoder: Any, settings: ExamSettings, labels: int) -> ExamNetwork:
    """The network of an encoder, whose modules are taken over; its first weights come from torch's generator."""
    if settings.head == "divide":
        if not isinstance(encoder, SslaclTrunk):
            raise SettingsError("the head divide needs the nine branches of an SSLACL encoder (medssl pretrain sslacl)")
        encoder = DividedBranches(encoder)
    elif settings.deep:
        encoder = without_reduction(encoder)
    head = build_head(settings.head, int(encoder.channels), labels, width=settings.head_width, norm=settings.norm)
    return ExamNetwork(encoder, head)
