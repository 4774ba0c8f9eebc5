"""The slice encoder a method's settings ask for."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import build_encoder


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
