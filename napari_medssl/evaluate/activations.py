"""What every stage of an encoder makes of some slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.evaluate.phases import named_stages
from napari_medssl.models.heads import pooled


def stage_features(encoder: Any, batches: Iterable[Tensor], policy: DevicePolicy) -> dict[str, Tensor]:
    """Stage name to (N, C) means over the stage's grid (GAP, as paper 002), then the output itself as "output".

    batches: (B, in_slices, H, W) float32 in [0, 1] on the CPU. Results are float32 on the CPU.
    """
    kept: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, out: kept.setdefault(name, []).append(pooled(out).float().cpu())

    hooks = [stage.register_forward_hook(keep(name)) for name, stage in named_stages(encoder).items()]
    try:
        for batch in batches:
            with policy.running():
                kept.setdefault("output", []).append(pooled(encoder(policy.send(batch))).float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    output = kept.pop("output")
    return {name: torch.cat(parts) for name, parts in kept.items()} | {"output": torch.cat(output)}
