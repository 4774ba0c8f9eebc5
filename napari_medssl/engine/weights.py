"""Which weights to use: the shipped sets by name, a file by path, or none at all; loaded once and shared."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import logging
import pkgutil
import re
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

import napari_medssl
from napari_medssl import models
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import Bundle, file_sha256, load_bundle, load_module
from napari_medssl.models.encoder import build_encoder, encoders

_log = logging.getLogger(__name__)

DEFAULT = "default"
NONE = "none"
TRAINING_FREE = "feature-bank"  # the encoder that needs no weights
_SUFFIX = ".safetensors"
_ROLES = ("encoder", "propagator", "reviser", "recogniser")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from, before they are loaded.

    name: as shown to people. path: the bundle file, or None for the training-free encoder.
    notes: what was chosen instead of what was asked for, as sentences.
    """

    name: str
    path: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WeightsFacts:
    """What `medssl weights` shows of one shipped set, read without loading its tensors.

    name, path, nbytes, sha256: the file; empty for "none". modules: role to registry name. card: licence, data,
    recipe, metrics.
    """

    name: str
    path: Path | None
    nbytes: int
    sha256: str
    modules: dict[str, str]
    card: dict[str, Any]


@dataclass(frozen=True, eq=False)
class LoadedModels:
    """Modules ready to run on one device; shared by every engine that asks for the same weights and device.

    sha256: of the weights file, or of the encoder's construction when there is no file.
    encoder, propagator, reviser, recogniser: in eval mode, without gradients; a bundle may hold the encoder alone.
    """

    sha256: str
    encoder_name: str
    encoder: nn.Module
    propagator: nn.Module | None
    card: dict[str, Any] = field(default_factory=dict)
    reviser: nn.Module | None = None
    recogniser: nn.Module | None = None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those that there are."""
        found = (self.encoder, self.propagator, self.reviser, self.recogniser)
        return tuple(m for m in found if m is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return sum(t.numel() * t.element_size() for m in self.modules for t in (*m.parameters(), *m.buffers()))


def resolve_weights(weights: str | Path = DEFAULT) -> WeightsSource:
    """The source that `weights` names: "default", "none", another shipped set, or the path of a bundle file.

    When the package holds no default weights, the training-free encoder stands in, with a note.

    Raises WeightsError for an unknown name or a missing file.
    """
    if weights == NONE:
        return WeightsSource(NONE, None)
    if isinstance(weights, Path) or not _NAME.match(weights) or weights.endswith(_SUFFIX):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"no weights file at {path}; give an existing {_SUFFIX} file, or use 'default'")
        return WeightsSource(path.name, path)
    path = _folder() / f"{weights}{_SUFFIX}"
    if path.is_file():
        return WeightsSource(weights, path)
    if weights == DEFAULT:
        note = f"no default weights are installed; the training-free encoder '{TRAINING_FREE}' is used instead"
        _log.warning(note)
        return WeightsSource(NONE, None, (note,))
    shipped = ", ".join(facts.name for facts in list_weights())
    raise WeightsError(f"no weights are called {weights!r}; choose one of: {shipped}, or give the path of a file")


def list_weights() -> tuple[WeightsFacts, ...]:
    """Every set of weights that ships with the package, "default" first, and "none" last.

    Raises WeightsError when a shipped file is damaged.
    """
    folder = _folder()
    found = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
    facts = sorted((_read_facts(path) for path in found), key=lambda f: (f.name != DEFAULT, f.name))
    card = {"description": "training-free feature bank: nothing was learned"}
    return (*facts, WeightsFacts(NONE, None, 0, "", {"encoder": TRAINING_FREE}, card))


_shared: weakref.WeakValueDictionary[tuple[str, str], LoadedModels] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def load_models(source: WeightsSource, policy: DevicePolicy) -> LoadedModels:
    """The modules of `source`, placed for `policy`; the same objects for everybody while anybody uses them.

    Raises WeightsError when the file is damaged, names an unknown architecture, or does not fit it.
    """
    with _sharing:
        digest, build = _recipe(source)
        found = _shared.get((digest, str(policy.device)))
        return found if found is not None else _place(build(), policy)


def models_on(models: LoadedModels, policy: DevicePolicy) -> LoadedModels:
    """`models` on another device; the given ones stay where they are."""
    with _sharing:
        found = _shared.get((models.sha256, str(policy.device)))
        return found if found is not None else _place(copy.deepcopy(models), policy)


def construction_hash(name: str, encoder: nn.Module) -> str:
    """Stands for weights that were computed, not trained: changes with the encoder's settings, buffers or code."""
    made = {"name": name, "config": getattr(encoder, "config", {}), "version": napari_medssl.__version__}
    h = hashlib.sha256(json.dumps(made, sort_keys=True, default=str).encode())
    for key, tensor in sorted(encoder.state_dict().items()):
        h.update(key.encode())
        h.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return h.hexdigest()


def _place(loaded: LoadedModels, policy: DevicePolicy) -> LoadedModels:
    for module in loaded.modules:
        policy.place(module.eval().requires_grad_(False))
    _shared[loaded.sha256, str(policy.device)] = loaded
    return loaded


def _recipe(source: WeightsSource) -> tuple[str, Callable[[], LoadedModels]]:
    """The hash of what `source` will give, and how to make it on the CPU."""
    path = source.path
    if path is None:
        made = _training_free()  # cheap; its hash is known only then
        return made.sha256, lambda: made
    return file_sha256(path), lambda: _from_bundle(source.name, load_bundle(path))


def _training_free() -> LoadedModels:
    encoder = _build("encoder", TRAINING_FREE, {})
    return LoadedModels(construction_hash(TRAINING_FREE, encoder), TRAINING_FREE, encoder, None)


def _from_bundle(name: str, bundle: Bundle) -> LoadedModels:
    if "encoder" not in bundle.modules:
        raise WeightsError(f"the weights {name!r} hold no encoder, only: {', '.join(bundle.modules) or 'nothing'}")
    built = {role: _restore(bundle, role) for role in _ROLES if role in bundle.modules}
    return LoadedModels(
        bundle.sha256,
        bundle.modules["encoder"]["name"],
        built["encoder"],
        built.get("propagator"),
        bundle.card,
        built.get("reviser"),
        built.get("recogniser"),
    )


def _restore(bundle: Bundle, role: str) -> nn.Module:
    try:
        kind, config = bundle.modules[role]["name"], bundle.modules[role].get("config", {})
        module = _build(role, kind, config)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the {role} of these weights cannot be built from its description ({error}); "
            "they may be made for another version of napari-medssl"
        ) from error
    return load_module(module, bundle.state(role), f"{role} {kind!r}")


def _build(role: str, name: str, config: dict[str, Any]) -> nn.Module:
    try:
        if role in ("propagator", "reviser"):
            from napari_medssl.models.propagator import build_propagator  # loads MONAI: only when there is one

            return build_propagator(name, **config)
        if role == "recogniser":
            from napari_medssl.models.recogniser import build_recogniser

            return build_recogniser(name, **config)
        _register_encoder(name)
        return build_encoder(name, **config)
    except SettingsError as error:
        raise WeightsError(f"{error} (a newer napari-medssl may know it)") from error


def _register_encoder(name: str) -> None:
    """Import the modules of `models` until `name` is registered, the one named like it first."""
    known = [info.name for info in pkgutil.iter_modules(models.__path__)]
    first = name.replace("-", "_")
    for module in sorted(known, key=lambda module: module != first):
        if name in encoders:
            return
        importlib.import_module(f"{models.__name__}.{module}")


def _read_facts(path: Path) -> WeightsFacts:
    try:
        with safe_open(str(path), framework="pt") as f:
            meta = f.metadata() or {}
        modules = {role: str(entry["name"]) for role, entry in json.loads(meta["modules"]).items()}
        card = json.loads(meta.get("card", "{}"))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"the shipped weights {path} are damaged ({error}); install napari-medssl again") from error
    return WeightsFacts(path.name.removesuffix(_SUFFIX), path, path.stat().st_size, file_sha256(path), modules, card)


def _folder() -> Path:
    return Path(str(resources.files(napari_medssl) / "weights"))
