"""Volume encoders to be judged on scans as they are: from weights, or with first weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.volume_weights import load_encoder
from napari_medssl.errors import WeightsError
from napari_medssl.models.encoder3d import build_encoder3d

FIRST = "first weights"
_SPACING_MM = 2.0  # for weights that do not say what they were trained on (ours)


@dataclass(frozen=True, eq=False)
class JudgedVolumes:
    """A volume encoder in eval mode, without gradients.

    name: as shown to people. kind, config: what builds the architecture. spacing_mm: voxels it was trained on. hints:
    what its card says about dense extraction. sha256: of its file; empty for first weights.
    """

    name: str
    kind: str
    config: dict[str, Any]
    encoder: Any
    spacing_mm: float
    hints: dict[str, Any]
    sha256: str = ""

    @property
    def architecture(self) -> str:
        """The same for encoders that differ in weights alone."""
        return f"{self.kind} {sorted(self.config.items())} {self.spacing_mm}"

    def first(self, seed: int) -> JudgedVolumes:
        """The same architecture with first weights of this seed, where the encoder is."""
        device = next(self.encoder.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = build_encoder3d(self.kind, **self.config).eval().requires_grad_(False).to(device)
        return JudgedVolumes(f"{self.kind}, {FIRST}", self.kind, self.config, made, self.spacing_mm, self.hints)


def load_volumes(weights: str | Path, policy: DevicePolicy) -> JudgedVolumes:
    """The volume encoder of an installed set or a weights file, on the policy's device.

    Raises WeightsError when there is no such file, it is damaged, or holds no encoder of volumes.
    """
    found = load_encoder(weights, policy)
    if not hasattr(found.encoder, "stages"):
        raise WeightsError(f"{weights} holds no encoder of volumes; train one, see `medssl pretrain --list` (3D)")
    config: dict[str, Any] = dict(found.encoder.config)  # type: ignore[arg-type]  # plain; nn.Module hints a tensor
    spacing = float(found.hints.get("spacing_mm") or _SPACING_MM)
    name = _shown(found.weights, weights)
    return JudgedVolumes(name, found.name, config, found.encoder, spacing, dict(found.hints), found.sha256)


def _shown(name: str, weights: str | Path) -> str:
    """Files of runs are all called alike; their folders are not."""
    path = Path(weights)
    return f"{path.absolute().parent.name}/{name}" if path.is_file() else name
