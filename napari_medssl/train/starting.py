"""The encoder a run starts from: new, or with weights from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from napari_medssl.errors import WeightsError
from napari_medssl.models.bundle import Bundle, load_bundle, load_module
from napari_medssl.models.published_weights import load_published
from napari_medssl.train.chosen_encoder import chosen_encoder


def starting_encoder(name: str, options: str, start_from: str, *, size: int) -> tuple[Any, str]:
    """The encoder to train, in train mode, and a sentence on where its weights come from.

    options: JSON object of arguments; those of the weights file count where it is silent. start_from: "" for weights
    from torch's generator, a weights file of this project, or a torchvision or COCO file.

    Raises SettingsError as `chosen_encoder`, WeightsError when the file holds another encoder.
    """
    if not start_from:
        return chosen_encoder(name, options, size=size), "random"
    path = Path(start_from).expanduser()
    if not _is_bundle(path):
        encoder = chosen_encoder(name, options, size=size)
        return encoder, f"{start_from}: {load_published(encoder, path).sentence()}"
    bundle = load_bundle(path)
    encoder = chosen_encoder(name, _joined(_config_in(bundle, name, start_from), options), size=size)
    return load_module(encoder, bundle.state("encoder"), "encoder").train(), f"{start_from} ({bundle.sha256[:12]})"


def _is_bundle(path: Path) -> bool:
    try:
        with safe_open(str(path), framework="pt") as f:
            return "modules" in (f.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _config_in(bundle: Bundle, name: str, path: str) -> dict[str, Any]:
    stored = bundle.modules.get("encoder", {})
    if stored.get("name") != name:
        raise WeightsError(f"{path} holds the encoder {stored.get('name')!r}, not {name!r}; set encoder to that name")
    config: dict[str, Any] = stored["config"]
    return config


def _joined(config: dict[str, Any], options: str) -> str:
    try:
        own = json.loads(options or "{}")
    except json.JSONDecodeError:
        return options  # refused with its reason where it is read
    return json.dumps({**config, **own}) if isinstance(own, dict) else options
