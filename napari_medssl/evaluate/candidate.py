"""Encoders to be judged: loaded from weights, or the same architecture with first weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.weights import load_models, resolve_weights
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.evaluate.slab import SlabEncoder
from napari_medssl.models.bundle import Bundle, load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d

_SIZES = {2: 192, 3: 128}  # sides of the framed slice for encoders that do not name one


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoder that is judged.

    name: as shown to people. kind: registry name of the architecture. encoder: on the policy's device, in eval mode and
    without gradients; not to be changed, others may share it. dims: 3 when it is a volume encoder behind a slab.
    size: side of the square slices it is given. build: the architecture with first weights, on the CPU.
    """

    name: str
    kind: str
    encoder: Any
    dims: Literal[2, 3]
    size: int
    build: Callable[[], nn.Module]
    sha256: str = ""

    @property
    def learns(self) -> bool:
        """Whether it has weights that training can change."""
        return any(True for _ in self.encoder.parameters())

    @property
    def architecture(self) -> str:
        """The same for candidates that differ in weights alone."""
        return f"{self.kind} {sorted(self.encoder.config.items())} {self.size}"

    def fresh(self, seed: int) -> Any:
        """The same architecture with first weights of this seed, in eval mode on the CPU."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().eval()

    def judged(self, seed: int, policy: DevicePolicy) -> Any:
        """`fresh` as the candidate itself is: on the policy's device, without gradients."""
        made = self.fresh(seed).requires_grad_(False)
        return policy.place(made) if self.dims == 2 else made.to(policy.device)

    def trainable(self) -> Any:
        """A copy of the encoder on the CPU that may be trained."""
        return copy.deepcopy(self.encoder).to("cpu", memory_format=torch.contiguous_format).requires_grad_(True)


def load_candidate(weights: str | Path, policy: DevicePolicy, *, size: int = 0, thickness: int = 16) -> Candidate:
    """The encoder of "default", "none", another shipped set, or a weights file with an encoder for slices or volumes.

    size: side of the slices; 0 takes the one the encoder names. thickness: slices of a volume encoder's slab.

    Raises WeightsError when there is no such file, it is damaged, or holds no encoder, and SettingsError when the size
    or thickness is no multiple of the encoder's stride.
    """
    source = resolve_weights(weights)
    if source.path is not None:
        bundle = load_bundle(source.path)
        if "encoder" not in bundle.modules and "encoder3d" in bundle.modules:
            return _volume_candidate(source.name, bundle, policy, size, thickness)
    loaded = load_models(source, policy)
    kind, encoder = loaded.encoder_name, loaded.encoder
    config = dict(encoder.config)  # type: ignore[arg-type]  # a plain attribute; nn.Module hints a tensor
    found = Candidate(
        source.name,
        kind,
        encoder,
        2,
        _side(size, encoder, 2),
        lambda: build_encoder(kind, **config),
        loaded.sha256,
    )
    return found


def load_candidates(
    names: Sequence[str | Path], policy: DevicePolicy, *, size: int = 0, thickness: int = 16
) -> list[Candidate]:
    """Each as `load_candidate`; files of the same name are told apart by their folders."""
    found = [load_candidate(name, policy, size=size, thickness=thickness) for name in names]
    shown = [c.name for c in found]
    return [
        replace(c, name=f"{Path(name).absolute().parent.name}/{c.name}") if shown.count(c.name) > 1 else c
        for c, name in zip(found, names, strict=True)
    ]


def _volume_candidate(name: str, bundle: Bundle, policy: DevicePolicy, size: int, thickness: int) -> Candidate:
    kind, config = str(bundle.modules["encoder3d"]["name"]), bundle.modules["encoder3d"].get("config", {})

    def build() -> nn.Module:
        try:
            return SlabEncoder(build_encoder3d(kind, **config), thickness=thickness)
        except (SettingsError, TypeError, ValueError) as error:
            raise WeightsError(f"the volume encoder of {name} cannot be built from its description: {error}") from error

    slab: Any = build()
    if thickness % slab.stride:
        raise SettingsError(f"thickness is {thickness}; the encoder of {name} needs a multiple of {slab.stride}")
    load_module(slab.inner, bundle.state("encoder3d"), f"volume encoder {kind!r}")
    slab.eval().requires_grad_(False).to(policy.device)  # the layout of the policy is for images, not volumes
    return Candidate(name, kind, slab, 3, _side(size, slab, 3), build, bundle.sha256)


def _side(size: int, encoder: Any, dims: int) -> int:
    side = size or int(getattr(encoder, "input_size", _SIZES[dims]))
    stride = max(8, int(encoder.stride))
    if side % stride:
        raise SettingsError(f"size is {side}; this encoder needs a multiple of {stride}")
    return side
