"""Networks from what a user writes: a name, and arguments as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from napari_medssl.errors import SettingsError


def built_with(build: Callable[..., Any], setting: str, name: str, options: str, *, example: str, **more: Any) -> Any:
    """`build(name, ...)` with arguments given as JSON, and more that count above them.

    setting: what the options are called; example: some that fit. Raises SettingsError, which names both, when they do
    not fit.
    """
    try:
        return build(name, **json.loads(options or "{}") | more)
    except (TypeError, ValueError) as error:  # no JSON, no JSON object, or unknown arguments
        raise SettingsError(
            f"{setting} {options!r} do not fit {name}: {error}; write a JSON object such as {example}"
        ) from error
