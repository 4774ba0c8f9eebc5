"""The slice encoder a method's settings ask for: new, or with weights from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import Bundle, load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.published_weights import load_published


def chosen_encoder(name: str, options: str, *, size: int) -> Any:
    """The encoder `name` for framed slices of `size` pixels, with first weights from torch's generator, in train mode.

    options: its arguments as a JSON object, such as '{"in_slices": 3, "width": 32}'.

    Raises SettingsError when there is no such encoder, the options do not fit it, or it has nothing to train.
    """
    try:
        values = json.loads(options or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(f'encoder_options is no JSON ({error}); write for example {{"in_slices": 3}}') from error
    if not isinstance(values, dict):
        raise SettingsError('encoder_options must be a JSON object, such as {"in_slices": 3}')
    try:
        encoder: nn.Module = build_encoder(name, **{**values, "input_size": size})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"encoder_options {options!r} do not fit {name}: {error}") from error
    if next(encoder.parameters(), None) is None:
        raise SettingsError(f"the encoder {name!r} has nothing to train; choose slice-resnet or resnet18-s8")
    return encoder.train()


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
