"""Helpers for settings: frozen dataclasses written once, from which forms, options and hashes are derived."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_medssl.errors import SettingsError

S = TypeVar("S")


def setting(
    default: Any, text: str, *, ge: float | None = None, le: float | None = None, advanced: bool = False
) -> Any:
    """A dataclass field with its explanation and limits.

    text: one sentence shown as tooltip and in the command's help. ge, le: inclusive limits.
    advanced: folded away in the form.
    """
    return dataclasses.field(default=default, metadata={"text": text, "ge": ge, "le": le, "advanced": advanced})


def check(settings: Any) -> None:
    """Raise SettingsError naming the first field outside its limits or choices (nested settings too)."""
    hints = get_type_hints(type(settings))
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            check(value)
            continue
        hint = hints[f.name]
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise SettingsError(f"{f.name} is {value!r}; choose one of {', '.join(map(repr, get_args(hint)))}")
        low, high = f.metadata.get("ge"), f.metadata.get("le")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if (low is not None and value < low) or (high is not None and value > high):
                raise SettingsError(f"{f.name} is {value}; it must lie between {low} and {high}")


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested dictionary of a settings object, ready for JSON."""
    return dataclasses.asdict(settings)


def from_dict(kind: type[S], values: Mapping[str, Any]) -> S:
    """Settings of `kind` from a (possibly partial, possibly nested) dictionary; an unknown key is refused."""
    hints = get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}; {kind.__name__} has: {', '.join(sorted(known))}")
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            value = from_dict(hint, value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        made[name] = value
    result = kind(**made)
    check(result)
    return result


def digest(settings: Any) -> str:
    """Short stable hash of a settings object, for cache keys and reports."""
    text = json.dumps(to_dict(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
