"""Settings from the command line and from files: names, types, limits and texts all come from the dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from napari_medssl.errors import SettingsError
from napari_medssl.settings import field_default, from_dict

S = TypeVar("S")

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Option:
    """One setting as the command line sees it: dotted name, type, default, and the field's texts and limits."""

    name: str
    hint: Any
    default: Any
    text: str
    ge: float | None = None
    le: float | None = None
    advanced: bool = False

    @property
    def allowed(self) -> str:
        """What values it takes, for people."""
        if get_origin(self.hint) is Literal:
            return " | ".join(str(a) for a in get_args(self.hint))
        if self.hint is bool:
            return "true | false"
        if get_origin(self.hint) is tuple:
            return f"{get_args(self.hint)[0].__name__},... (comma between)"
        low, high = ("" if v is None else f"{v:g}" for v in (self.ge, self.le))
        kind = getattr(self.hint, "__name__", str(self.hint))
        if low and high:
            return f"{kind} {low}..{high}"
        return f"{kind} from {low}" if low else f"{kind} up to {high}" if high else kind


def options(kind: type, *, prefix: str = "", base: Any = None) -> Iterator[Option]:
    """Every setting of a settings class, those of nested settings with dotted names.

    base: an instance whose values are the defaults shown; without it, those of the class.
    """
    hints = get_type_hints(kind)
    for f in dataclasses.fields(kind):
        hint = hints[f.name]
        default = field_default(f) if base is None else getattr(base, f.name)
        if dataclasses.is_dataclass(hint):
            yield from options(hint, prefix=f"{prefix}{f.name}.", base=default)  # type: ignore[arg-type]  # a class
            continue
        m = f.metadata
        yield Option(
            prefix + f.name, hint, default, m.get("text", ""), m.get("ge"), m.get("le"), m.get("advanced", False)
        )


def settings_from(
    kind: type[S], *, file: Path | None = None, assignments: Sequence[str] = (), base: S | None = None
) -> S:
    """Settings of `kind`: the defaults, then a JSON file, then `name=value` texts, later ones winning.

    base: settings to begin from instead of the defaults.
    file: a (partial, nested or dotted) object of settings, or a report, whose settings are taken.
    assignments: dotted names, such as "propagation.step_mm=3".

    Raises SettingsError naming the file or text, the setting, and what it allows.
    """
    known = {option.name: option for option in options(kind)}
    values: dict[str, Any] = {}
    if file is not None:
        for name, value in _flat(_load(file)):
            option = _find(known, name)
            _set(values, name, _typed(option, value))
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text!r} has no '='; write name=value, for example {next(iter(known))}=...")
        option = _find(known, name.strip())
        _set(values, option.name, _parsed(option, value.strip()))
    return from_dict(kind, values, base=base)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"the settings file {file} is no JSON ({error})") from error
    if isinstance(values, dict) and isinstance(values.get("settings"), dict):
        values = values["settings"]
    if not isinstance(values, dict):
        raise SettingsError(f'the settings file {file} must hold a JSON object such as {{"threshold": 0.5}}')
    return values


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def _find(known: Mapping[str, Option], name: str) -> Option:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise SettingsError(f"no setting is called {name!r}{hint} --list-settings shows all of them")


def _parsed(option: Option, text: str) -> Any:
    """The value a text stands for, by the setting's type."""
    hint, optional = _required(option.hint)
    if optional and text.lower() == "none":
        return None
    try:
        if hint is bool:
            return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[text.lower()]
        if get_origin(hint) is Literal:
            return {str(a): a for a in get_args(hint)}[text]
        if get_origin(hint) is tuple:
            kinds = [a for a in get_args(hint) if a is not Ellipsis]
            parts = [p.strip() for p in text.split(",") if p.strip()]
            return tuple(kinds[min(i, len(kinds) - 1)](p) for i, p in enumerate(parts))
        return hint(text)
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{option.name} cannot be {text!r}; it takes {option.allowed}") from error


def _typed(option: Option, value: Any) -> Any:
    """A JSON value checked against the setting's type; whole numbers pass for floats."""
    hint, optional = _required(option.hint)
    if value is None and optional:
        return None
    if get_origin(hint) is Literal:
        fits = value in get_args(hint)
    elif get_origin(hint) is tuple:
        fits = isinstance(value, list)
        value = tuple(value) if fits else value
    elif hint is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        fits = type(value) is hint
    if not fits:
        raise SettingsError(f"{option.name} cannot be {value!r}; it takes {option.allowed}")
    return value


def _required(hint: Any) -> tuple[Any, bool]:
    """(the type without None, whether None was allowed)."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [a for a in get_args(hint) if a is not type(None)]
        return kinds[0], len(kinds) < len(get_args(hint))
    return hint, False
