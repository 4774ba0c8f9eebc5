"""The stages of a volume encoder: how many channels and voxels per cell each has, and where its cells lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from napari_medssl.dense.join import Stage
from napari_medssl.errors import SettingsError

_FINE, _COARSE = 2, 4  # voxels per cell of the stages taken when nothing says which: fine enough for organs (ours)


def takes_volumes(encoder: Any) -> bool:
    """Whether an encoder is of volumes, not of slices."""
    return (
        hasattr(encoder, "stages") and hasattr(encoder, "in_channels") and len(getattr(encoder, "size", (0,) * 3)) == 3
    )


def stages_of(encoder: Any) -> tuple[Stage, ...]:
    """Every stage of a volume encoder, asked with a cube of one deepest cell.

    Centres are `encoder.stage_centres` where an encoder says that its cells do not tile the input.
    """
    side = int(encoder.stride)
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        found = encoder.stages(torch.zeros(1, int(encoder.in_channels), side, side, side, device=device))
    strides = [side // int(grid.shape[-1]) for grid in found]
    centres = getattr(encoder, "stage_centres", None) or [(s - 1) / 2 for s in strides]
    return tuple(
        Stage(n, int(grid.shape[1]), stride, float(centre))
        for n, (grid, stride, centre) in enumerate(zip(found, strides, centres, strict=True), start=1)
    )


def widest_layer(encoder: Any) -> float:
    """Most numbers that one layer reads and writes, per voxel of the input: what its memory goes by."""
    side, most = int(encoder.stride), [1.0]

    def look(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
        most.append(sum(t.numel() for t in (*inputs, output) if isinstance(t, torch.Tensor)) / side**3)

    leaves = [m for m in encoder.modules() if m is not encoder and not any(True for _ in m.children())]
    hooks = [m.register_forward_hook(look) for m in leaves]
    try:
        stages_of(encoder)
    finally:
        for hook in hooks:
            hook.remove()
    return max(most)


def chosen_stages(stages: Sequence[Stage], wanted: Sequence[int], known: Sequence[int] = ()) -> tuple[Stage, ...]:
    """The stages asked for; else those the card names; else those of two to four voxels per cell, or the last one.

    Raises SettingsError for a stage the encoder does not have, or one named twice.
    """
    numbers = tuple(wanted) or tuple(known)
    if not numbers:
        fine = tuple(s for s in stages if _FINE <= s.stride <= _COARSE)
        return fine or (stages[-1],)
    if len(set(numbers)) != len(numbers) or not set(numbers) <= {s.number for s in stages}:
        raise SettingsError(
            f"stages is {','.join(map(str, numbers))}; this encoder has 1 to {len(stages)}, each may be named once"
        )
    return tuple(s for s in stages if s.number in numbers)
