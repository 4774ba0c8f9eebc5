"""Maps of networks that see nine patches at once, each put back on the cell it was cut from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.classify.explain.cam import activation_maps
from napari_medssl.models.nine_branches import BRANCHES


def patched_trunk(model: nn.Module) -> tuple[str, Any] | None:
    """Name and module of a SKID or SSLACL trunk in patch mode inside a network, or None."""
    found = ((name, m) for name, m in model.named_modules() if getattr(m, "patch_mode", False))
    return next(found, None)


def patch_maps(
    model: nn.Module, inputs: Tensor, *, target: int, method: Literal["gradcam", "gradcam++"] = "gradcam"
) -> Tensor:
    """Evidence on whole slices from a network whose trunk cuts them into nine patches: (B, side, side) float32, 0
    outside the patches.

    inputs: (B, C, side, side). A cell behind the joining of the branches looks at nine places at once, so each branch
    is asked by itself, at its last layer, and its map put on its patch. Nine passes.

    Source: Grad-CAM of SSLACL "on the nine patches re-arranged" (thesis 3, S19), here in their natural order.
    Raises ValueError when the network has no such trunk.
    """
    found = patched_trunk(model)
    if found is None:
        raise ValueError("the network has no trunk in patch mode")
    name, trunk = found
    prefix = f"{name}.branches.branches" if name else "branches.branches"
    maps = [
        activation_maps(model, inputs, target=target, layer=f"{prefix}.{k}", method=method) for k in range(BRANCHES)
    ]
    height, width = inputs.shape[2:]
    return join_patches(torch.stack(maps, 1), (int(height), int(width)), int(trunk.patch))


def join_patches(
    maps: Tensor, shape: tuple[int, int], patch: int, *, arrangement: Sequence[int] = tuple(range(BRANCHES))
) -> Tensor:
    """(B, 9, h, w) maps of patches, in the order the network saw them, to (B, *shape) on the slice, 0 outside them.

    patch: side of a patch in pixels; each was cut from the middle of its third (`centre_cells`). arrangement: slot k
    was shown the patch of cell arrangement[k] (B3-11), for networks that look at a jigsaw.
    """
    h, w = shape[0] // 3, shape[1] // 3
    top, left = (h - patch) // 2, (w - patch) // 2
    large = F.interpolate(maps, size=(patch, patch), mode="bilinear", align_corners=False)
    out = torch.zeros((len(maps), *shape))
    for slot, cell in enumerate(arrangement):
        y, x = cell // 3 * h + top, cell % 3 * w + left
        out[:, y : y + patch, x : x + patch] = large[:, slot]
    return out
