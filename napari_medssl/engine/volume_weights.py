"""Which encoder makes dense features: the shipped one, a file of one's own, or a published one."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.medicalnet import MEDICALNET, fetch_medicalnet
from napari_medssl.engine.weights import WeightsSource, construction_hash, load_models, resolve_weights
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import Bundle, file_sha256, load_bundle, load_module
from napari_medssl.models.encoder3d import build_encoder3d, volume_encoders
from napari_medssl.models.medicalnet import medicalnet_from

DEFAULT3D = "default3d"
UNTRAINED3D = "untrained3d"
_UNTRAINED = {"width": 0.5}  # of the U-Net that stands in: as narrow as the pretraining methods' default
_SEED = 0
_TORCH_SUFFIXES = (".pth", ".pt")
_ROLES = ("encoder3d", "encoder")  # of pretraining runs in 3D, and of shipped sets


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder of volumes or slices on one device, in eval mode and without gradients; others may share it.

    name: registry name of the architecture. weights: as shown to people. sha256: of the file, or of the construction.
    hints: what its card says about "spacing_mm", "stages" and "patch". notes: sentences for the user.
    """

    name: str
    weights: str
    sha256: str
    encoder: nn.Module
    card: dict[str, Any] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return sum(t.numel() * t.element_size() for t in (*self.encoder.parameters(), *self.encoder.buffers()))

    def facts(self) -> dict[str, Any]:
        """What a grid keeps of its encoder."""
        config = getattr(self.encoder, "config", {})
        return {
            "name": self.name,
            "weights": self.weights,
            "weights_sha256": self.sha256,
            "config": dict(config),
            **self.hints,
            "notes": list(self.notes),
        }


_shared: weakref.WeakValueDictionary[tuple[str, str], LoadedEncoder] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def load_encoder(weights: str | Path, policy: DevicePolicy) -> LoadedEncoder:
    """The encoder that `weights` names, placed for `policy`.

    weights: "default3d"; "untrained3d", a 3D U-Net with seeded first weights to compare with; the path of a bundle that
    holds an encoder of volumes or slices, such as the encoder.safetensors of a pretraining run; a .pth file of
    MedicalNet, or "medicalnet-resnet10", -18, -34 or -50, whose files are fetched once; or another shipped set.
    As long as no default weights are installed, the untrained network stands in for them, with a note.

    Raises WeightsError for an unknown name, a missing or damaged file, or one that holds no encoder.
    """
    if str(weights) in MEDICALNET:
        weights = fetch_medicalnet(str(weights))
    if str(weights).lower().endswith(_TORCH_SUFFIXES):
        return _published(Path(weights).expanduser(), policy)
    if weights == UNTRAINED3D:
        return _made(UNTRAINED3D, policy)
    try:
        source = resolve_weights(weights)
    except WeightsError:
        if weights != DEFAULT3D:
            raise
        note = "no default 3D weights are installed; an untrained 3D U-Net is used instead"
        return _made(DEFAULT3D, policy, note)
    path = source.path
    if path is None:
        return _slices_encoder(source, policy)
    bundle_hash = file_sha256(path)
    found = _shared_or(bundle_hash, policy, lambda: _from_bundle(source.name, load_bundle(path)))
    return found if found is not None else _slices_encoder(source, policy)


def encoder_on(loaded: LoadedEncoder, policy: DevicePolicy) -> nn.Module:
    """The encoder on another device; the given one stays where it is."""
    here = next((t.device for t in (*loaded.encoder.parameters(), *loaded.encoder.buffers())), torch.device("cpu"))
    return loaded.encoder if here == policy.device else copy.deepcopy(loaded.encoder).to(policy.device)


def _shared_or(key: str, policy: DevicePolicy, build: Callable[[], Any]) -> Any:
    """The encoder of `key` on the policy's device: one in use, or a new one; None when `build` gives none."""
    with _sharing:
        found = _shared.get((key, str(policy.device)))
        if found is None:
            found = build()
            if found is None:
                return None
            # Not policy.place: its layout is for images, volumes have another.
            found.encoder.eval().requires_grad_(False).to(policy.device)
            _shared[key, str(policy.device)] = found
        return found


def _published(path: Path, policy: DevicePolicy) -> LoadedEncoder:
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give the path of a downloaded .pth file")
    digest = file_sha256(path)
    found: LoadedEncoder = _shared_or(digest, policy, lambda: _medicalnet(path, digest))
    return found


def _medicalnet(path: Path, digest: str) -> LoadedEncoder:
    encoder, report = medicalnet_from(path)
    return LoadedEncoder("medicalnet", path.name, digest, encoder, notes=(f"{path.name}: {report.sentence()}",))


def _made(key: str, policy: DevicePolicy, *notes: str) -> LoadedEncoder:
    found: LoadedEncoder = _shared_or(key, policy, lambda: _untrained(*notes))
    return found


def _untrained(*notes: str) -> LoadedEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        encoder = build_encoder3d("unet3d", **_UNTRAINED)
    return LoadedEncoder("unet3d", UNTRAINED3D, construction_hash("unet3d", encoder), encoder, notes=notes)


def _from_bundle(name: str, bundle: Bundle) -> LoadedEncoder | None:
    """The volume encoder of a bundle, or None when it holds one of slices."""
    role = next((r for r in _ROLES if r in bundle.modules), None)
    if role is None:
        raise WeightsError(f"the weights {name!r} hold no encoder, only: {', '.join(bundle.modules) or 'nothing'}")
    kind, config = str(bundle.modules[role].get("name", "")), bundle.modules[role].get("config", {})
    if role == "encoder" and not _is_volume_encoder(kind):
        return None
    try:
        encoder = build_encoder3d(kind, **config)
    except (SettingsError, TypeError, ValueError) as error:
        raise WeightsError(f"the encoder of {name} cannot be built from its description: {error}") from error
    load_module(encoder, bundle.state(role), f"volume encoder {kind!r}")
    return LoadedEncoder(kind, name, bundle.sha256, encoder, bundle.card, _hints(bundle.card))


def _is_volume_encoder(kind: str) -> bool:
    try:
        build_encoder3d("")  # imports the modules that register
    except SettingsError:
        return kind in volume_encoders
    return True


def _hints(card: dict[str, Any]) -> dict[str, Any]:
    """What a card says about extraction, under "extraction", or as the settings of the training."""
    settings = card.get("settings")
    trained = settings.get("spacing_mm") if isinstance(settings, dict) else None
    said = card.get("extraction")
    hints = dict(said) if isinstance(said, dict) else {}
    if trained:
        hints.setdefault("spacing_mm", float(trained))
    return {k: hints[k] for k in ("spacing_mm", "stages", "patch") if k in hints}


def _slices_encoder(source: WeightsSource, policy: DevicePolicy) -> LoadedEncoder:
    models = load_models(source, policy)
    return LoadedEncoder(models.encoder_name, source.name, models.sha256, models.encoder, models.card)
