"""Helpers for settings: frozen dataclasses written once, from which forms, options and hashes are derived."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_medssl.errors import SettingsError

S = TypeVar("S")

# What a field of each plain type takes; numpy's own numbers count as numbers.
_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "text"),
}


def setting(
    default: Any, text: str, *, ge: float | None = None, le: float | None = None, advanced: bool = False
) -> Any:
    """A dataclass field with its explanation and limits.

    text: one sentence shown as tooltip and in the command's help. ge, le: inclusive limits.
    advanced: folded away in the form.
    """
    return dataclasses.field(default=default, metadata={"text": text, "ge": ge, "le": le, "advanced": advanced})


def check(settings: Any) -> None:
    """Raise SettingsError naming the first field of a wrong type or outside its limits or choices (nested too)."""
    hints = get_type_hints(type(settings))
    for f in dataclasses.fields(settings):
        value, hint = getattr(settings, f.name), hints[f.name]
        _check_type(f.name, value, hint)
        if dataclasses.is_dataclass(value):
            check(value)
        elif isinstance(value, numbers.Real):
            _check_limits(f.name, float(value), f.metadata.get("ge"), f.metadata.get("le"))


def _check_type(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(map(repr, get_args(hint)))}")
        return
    if dataclasses.is_dataclass(hint):
        fits, wanted = isinstance(value, hint), "a group of settings"  # type: ignore[arg-type]
    elif hint in _KINDS:
        kind, wanted = _KINDS[hint]
        fits = isinstance(value, kind) and (hint is bool or not isinstance(value, bool))
    else:
        return
    if not fits:
        raise SettingsError(f"{name} is {value!r}; it must be {wanted}")


def _check_limits(name: str, value: float, low: float | None, high: float | None) -> None:
    if math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high):
        return
    limits = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
    allowed = " and ".join(x for x in limits if x) or "finite"
    raise SettingsError(f"{name} is {value:g}; it must be {allowed}")


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain nested dictionary of a settings object, ready for JSON."""
    return dataclasses.asdict(settings)


def from_dict(kind: type[S], values: Mapping[str, Any], *, base: S | None = None) -> S:
    """Settings of `kind` from a (possibly partial, possibly nested) dictionary; an unknown key is refused.

    base: what is not named is taken from there; without it, from the defaults. A nested group that is named in part
    keeps the rest of what the group is in `base` or by default of its field, which may differ from its class's own.
    """
    hints = get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]!r}; {kind.__name__} has: {', '.join(sorted(known))}")
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            inner: Any = field_default(known[name]) if base is None else getattr(base, name)
            value = from_dict(hint, value, base=inner)  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        made[name] = value
    result: S = kind(**made) if base is None else dataclasses.replace(base, **made)  # type: ignore[type-var]
    check(result)
    return result


def field_default(field: dataclasses.Field[Any]) -> Any:
    """The default of a dataclass field, made anew; None when it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def digest(settings: Any) -> str:
    """Short stable hash of a settings object, for cache keys and reports."""
    text = json.dumps(to_dict(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
