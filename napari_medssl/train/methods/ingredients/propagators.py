"""The network of the methods that carry masks, from what a user writes."""

from __future__ import annotations

import json
from typing import Any

from napari_medssl.errors import SettingsError
from napari_medssl.models.propagator import build_propagator


def propagator_from(name: str, options: str, **more: Any) -> Any:
    """The propagator `name` with arguments given as JSON; raises SettingsError when they do not fit it."""
    try:
        return build_propagator(name, **json.loads(options or "{}") | more)
    except (TypeError, ValueError) as error:  # no JSON, no JSON object, or unknown arguments
        raise SettingsError(
            f"propagator_options {options!r} do not fit {name}: {error}; "
            'write a JSON object such as {"crop_size": 96}'
        ) from error
