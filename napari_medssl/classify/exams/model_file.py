"""A trained exam classifier on disk: a folder with safetensors files and a JSON that says what they are. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_medssl.classify.calibrate import calibrator_from
from napari_medssl.classify.exams.model import ExamModel
from napari_medssl.classify.exams.network import EncoderSource, assemble
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.errors import MedSSLError, WeightsError
from napari_medssl.io.atomic import replacing
from napari_medssl.io.folders import make_folder
from napari_medssl.models.bundle import file_sha256, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.report import environment, plain, write_report
from napari_medssl.settings import from_dict, to_dict

FORMAT = "napari-medssl exam classifier 1"

HEAD, ENCODER = "head.json", "encoder.safetensors"


def save_exam_model(folder: Path, model: ExamModel) -> Path:
    """Write the classifier; returns the JSON file, which is written last, so that a folder with one is whole.

    A frozen encoder is written once for all planes; one that was trained, with each plane.

    Raises FormatError when the folder cannot be made or written to.
    """
    make_folder(folder)
    frozen = model.settings.mode == "frozen"
    files: dict[str, Any] = {}
    if frozen:
        # With divide and teach the joining convolution is not part of the network and is not kept.
        encoder = next(iter(model.networks.values())).encoder
        files[ENCODER] = _write(folder / ENCODER, encoder.state_dict())
    for number, network in enumerate(model.networks.values()):
        name = f"plane-{number}.safetensors"
        files[name] = _write(folder / name, (network.head if frozen else network).state_dict())
    source = model.source
    facts = {
        "format": FORMAT,
        "kind": model.kind,
        "labels": model.labels,
        "planes": model.planes,
        "encoder": {"name": source.name, "kind": source.kind, "config": source.config, "size": source.size,
                    "sha256": source.sha256},
        "settings": to_dict(model.settings),
        "accuracy": model.accuracy,
        "votes": model.votes,
        "thresholds": model.thresholds,
        "calibration": model.calibration.state(),
        "files": files,
        "card": plain(model.card),
        "made_with": environment(),
    }  # fmt: skip
    write_report(folder / HEAD, facts)
    return folder / HEAD


def load_exam_model(folder: Path) -> ExamModel:
    """The classifier of a folder (or of the JSON file in it).

    Raises WeightsError when there is none, it is of another format, a file is missing, damaged, or belongs to another
    encoder than the one the JSON names.
    """
    folder = folder.parent if folder.name == HEAD else folder
    facts = _facts(folder)
    try:
        settings = from_dict(ExamSettings, facts["settings"])
        encoder = facts["encoder"]
        source = EncoderSource(
            encoder["name"], encoder["kind"], encoder["config"], int(encoder["size"]), None, encoder["sha256"]
        )
        networks = {p: _network(folder, n, facts, settings, source) for n, p in enumerate(facts["planes"])}
        return ExamModel(
            settings, facts["kind"], tuple(facts["labels"]), source, networks, _numbers(facts["accuracy"]),
            _numbers(facts["votes"]), _numbers(facts["thresholds"]), calibrator_from(facts["calibration"]),
            facts["card"],
        )  # fmt: skip
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, MedSSLError) as error:
        raise WeightsError(f"{folder / HEAD} does not describe a classifier ({error}); train it again") from error


def _write(path: Path, state: dict[str, Tensor]) -> str:
    content = save({k: v.detach().cpu().contiguous() for k, v in state.items()})
    with replacing(path) as (part,):
        part.write_bytes(content)
    return file_sha256(path)


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / HEAD
    if not path.is_file():
        raise WeightsError(f"{folder} holds no exam classifier ({HEAD}); train one with medssl classify train")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path} ({error}); train the classifier again") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise WeightsError(
            f"{path} is of the format {found!r}, not {FORMAT!r}; choose a folder of medssl classify train"
        )
    return facts


def _network(
    folder: Path, number: int, facts: dict[str, Any], settings: ExamSettings, source: EncoderSource
) -> ExamNetwork:
    network = assemble(build_encoder(source.kind, **source.config), settings, len(facts["labels"]))
    name = f"plane-{number}.safetensors"
    if settings.mode != "frozen":
        load_module(network, _tensors(folder, name, facts), f"network of {folder / name}")
        return network.eval()
    encoder: nn.Module = network.encoder
    load_module(encoder, _tensors(folder, ENCODER, facts), f"encoder {source.kind!r}")
    load_module(network.head, _tensors(folder, name, facts), f"head of {folder / name}")
    encoder.requires_grad_(False)
    return network.eval()


def _tensors(folder: Path, name: str, facts: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / name
    if not path.is_file():
        raise WeightsError(f"{path} is missing; copy the whole folder again, or train the classifier anew")
    wanted, found = facts["files"][name], file_sha256(path)
    if wanted != found:
        trained = f"{facts['encoder']['name']} ({facts['encoder']['kind']}, file {wanted[:12]})"
        raise WeightsError(
            f"the classifier in {folder} was trained on the encoder {trained}, but {name} is the file {found[:12]} "
            f"({_said(path)}); put the right file back, or train again with the other encoder"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); copy it again") from error


def _said(path: Path) -> str:
    """What a weights file says of itself."""
    from napari_medssl.models.bundle import load_bundle

    try:
        modules = load_bundle(path).modules
    except WeightsError:
        return "of an unknown encoder"
    return "with " + ", ".join(f"{role} {facts.get('name')!r}" for role, facts in modules.items())


def _numbers(values: Any) -> np.ndarray:
    """Numbers of a report, in which what is undefined is null."""
    return np.array(values, dtype=object).astype(float)
