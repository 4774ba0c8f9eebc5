"""Weights on disk: one safetensors file holding named modules and what is needed to build them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_medssl.errors import WeightsError
from napari_medssl.io.atomic import replacing

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """Modules of one weights file.

    modules: role ("encoder", "propagator", "reviser", "recogniser") to its registry name and factory arguments, as
        {"name": ..., "config": ...}.
    tensors: "role.parameter" to tensor.
    card: licence, data, recipe, metrics, versions; shown to the user.
    sha256: hash of the file; empty before it is written.
    """

    modules: dict[str, dict[str, Any]]
    tensors: dict[str, torch.Tensor]
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def state(self, role: str) -> dict[str, torch.Tensor]:
        """State dict of one module, without its role prefix."""
        prefix = role + "."
        return {k[len(prefix) :]: v for k, v in self.tensors.items() if k.startswith(prefix)}


def module_bundle(role: str, name: str, module: torch.nn.Module, card: Mapping[str, Any]) -> Bundle:
    """A bundle with one module, registered as `name`, whose `config` its factory needs to build it again."""
    tensors = {f"{role}.{k}": v for k, v in module.state_dict().items()}
    return Bundle({role: {"name": name, "config": module.config}}, tensors, dict(card))


def save_bundle(path: Path, bundle: Bundle, *, half: bool = False) -> str:
    """Write `bundle` (temporary file, then rename) and return its SHA-256.

    half: store floating-point tensors as float16; they are read back as float32.

    Raises FormatError when the folder is missing or the disk refuses; an old file then stays as it was.
    """
    tensors = {
        k: (v.half() if half and v.is_floating_point() else v).detach().contiguous().cpu()
        for k, v in bundle.tensors.items()
    }
    meta = {"format": str(FORMAT), "modules": json.dumps(bundle.modules), "card": json.dumps(bundle.card)}
    content = save(tensors, metadata=meta)  # not save_file: it makes files that only their owner may read
    with replacing(path) as (part,):
        part.write_bytes(content)
    return file_sha256(path)


def join_bundles(bundles: Sequence[Bundle], *, card: Mapping[str, Any] | None = None) -> Bundle:
    """One bundle with the modules of all; the parts' cards are kept under their roles, after the facts of `card`.

    Raises WeightsError when two bundles hold a module of the same role.
    """
    modules: dict[str, dict[str, Any]] = {}
    tensors: dict[str, torch.Tensor] = {}
    facts: dict[str, Any] = dict(card or {})
    for bundle in bundles:
        twice = sorted(set(modules) & set(bundle.modules))
        if twice:
            raise WeightsError(f"two of the files hold {' and '.join(twice)}; give one file per module")
        modules |= bundle.modules
        tensors |= bundle.tensors
        facts |= dict.fromkeys(bundle.modules, bundle.card)
    return Bundle(modules, tensors, facts)


def load_bundle(path: Path) -> Bundle:
    """Read a weights file; raises WeightsError saying what is wrong with it."""
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give an existing .safetensors file or use 'default'")
    try:
        with safe_open(str(path), framework="pt") as f:
            meta = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); fetch or train it again") from error
    if meta.get("format") != str(FORMAT):
        raise WeightsError(f"{path} is no napari-medssl weights file of format {FORMAT}; convert or train it again")
    try:
        modules, card = json.loads(meta["modules"]), json.loads(meta.get("card", "{}"))
    except (KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} does not say what its weights are ({error}); fetch or train it again") from error
    floats = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return Bundle(modules, floats, card, file_sha256(path))


def load_module(module: torch.nn.Module, state: dict[str, torch.Tensor], what: str) -> torch.nn.Module:
    """Load `state` strictly; raises WeightsError naming missing, unknown or misshaped entries of `what`."""
    own = module.state_dict()
    missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    misshaped = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unknown or misshaped:
        raise WeightsError(
            f"the weights do not fit the {what}: {len(missing)} missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(misshaped)} of another shape {misshaped[:3]}"
        )
    module.load_state_dict(state)
    return module.eval()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in chunks."""
    h = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()
