"""Recognition: a network learns the structures of labelled scans by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.recogniser import build_recogniser
from napari_medssl.settings import setting
from napari_medssl.train.episodes.labelled_slices import LabelledSlices
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.options import built_with
from napari_medssl.train.objectives.structure_labels import StructureLabels
from napari_medssl.train.run_settings import OptimSettings, RunSettings

_HALVED = 16  # the network halves its input four times


@dataclass(frozen=True)
class RecognitionSettings:
    """Training on labelled slices; what is learned helps where a user labels one of the same structures."""

    structures: str = setting(
        "{}", 'Data set to the names of its labels 1, 2, ... as JSON: {"folder": ["spleen", "liver"]}.'
    )
    recogniser: str = setting("structure-unet", "Recogniser by name.")
    recogniser_options: str = setting("{}", 'Its arguments as JSON, such as {"features": [...]}.', advanced=True)
    size: int = setting(192, "Side of the network's input in pixels, a multiple of 16.", ge=32, le=1024)
    start_from: str = setting("", "Weights file to start from; its recogniser must know the same structures.")
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            steps=12000,
            batch=8,
            validation_share=0.0,
            monitor_every=0,
            optim=OptimSettings(learning_rate=2e-3, clip_norm=1.0),
        )
    )


def build(settings: RecognitionSettings) -> Recipe:
    """Network, slices and loss.

    Raises SettingsError for structures, a size or options that cannot be used, WeightsError for weights to start from
    that do not fit them.
    """
    if settings.size % _HALVED:
        near = _HALVED * max(2, round(settings.size / _HALVED))
        raise SettingsError(f"size {settings.size} is no multiple of {_HALVED}, which the network needs; set {near}")
    structures = _structures(settings.structures)
    network = built_with(
        lambda name, **own: build_recogniser(name, structures=structures, input_size=settings.size, **own),
        "recogniser_options",
        settings.recogniser,
        settings.recogniser_options,
        example='{"features": [16, 32, 64, 128, 192, 16]}',
    )
    facts = _start(network, Path(settings.start_from)) if settings.start_from else {}
    objective = StructureLabels(network.train().to(memory_format=torch.channels_last))
    return Recipe(LabelledSlices(structures), objective, settings.recogniser, role="recogniser", facts=facts)


def _start(network: Any, path: Path) -> dict[str, Any]:
    """Give the network the weights of a file; returns what the model card says of it."""
    bundle = load_bundle(path)
    config = bundle.modules.get("recogniser", {}).get("config", {})
    known = {group: tuple(names) for group, names in config.get("structures", {}).items()}
    # In the same order too: channels are told apart by nothing else.
    if list(known.items()) != list(network.structures.items()):
        raise WeightsError(
            f"{path} {f'knows {json.dumps(known)}' if known else 'holds no recogniser'}; give weights that know the "
            f"structures of this run in their order, {json.dumps(network.structures)}, or leave start_from empty"
        )
    load_module(network, bundle.state("recogniser"), f"recogniser of {path}")
    return {"starts_from": bundle.sha256}


def _structures(text: str) -> Mapping[str, Sequence[str]]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    structures: Mapping[str, Sequence[str]] = found if isinstance(found, dict) else {}
    if not structures or not all(_is_names(names) for names in structures.values()):
        raise SettingsError(
            f"structures {text!r} must name at least one data set (its folder) and its labels in the order of their "
            'values, as JSON such as {"abdomen": ["spleen", "right kidney"]}'
        )
    return structures


def _is_names(names: object) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(n, str) for n in names)


SMALL = RecognitionSettings(
    structures='{"bodies": ["first", "second", "third"]}',
    recogniser_options='{"features": [8, 8, 8, 8, 8, 8]}',
    size=64,
    run=RunSettings(steps=200, batch=2, validation_share=0.0, monitor_every=0, optim=OptimSettings(clip_norm=1.0)),
)

add_method(
    Method(
        name="recognition",
        line="learns the structures of labelled scans by name; helps the one-shot segmentation of the same, no encoder",
        source="ours; default weights; contrasts after Ouyang et al. 2022",
        family="episodes",
        dims=2,
        settings=RecognitionSettings,
        small=SMALL,
        build=build,
        labels=True,
    )
)
