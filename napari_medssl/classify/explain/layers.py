"""Which layers of a network keep a map of its input, and so can be asked where something is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.classify.explain.modes import looking
from napari_medssl.errors import SettingsError

_SHOWN = 12  # names in an error message


def map_layers(model: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Layers whose output is a map, by name, in the order they finish: the (channels, *cells) of their output.

    example: one input of the network (its values do not matter). A layer has a map when its output is (N, C, y, x) or
    (N, C, z, y, x) with more than one cell; those of transformers put out rows of tokens and are not among them,
    although the encoder around them is. The network is run once.
    """
    return {name: tuple(output.shape[1:]) for name, output in _maps(model, example).items()}


def default_layer(
    model: nn.Module, example: Tensor, *, rectified: bool = False, maps: int = 0, within: str = ""
) -> str:
    """The last layer with a map, as Grad-CAM takes it; of several that give the same output, the innermost.

    rectified: the last whose output is nowhere below 0, where there is one. Grad-CAM++ divides by sums of activations,
    which cancel when they have both signs.

    maps: how many the layer must give, such as one for each slice of an examination; 0 takes any number.
    within: the part of the network it must lie in.

    Raises SettingsError when no layer has such a map.
    """
    found = [(n, o) for n, o in _maps(model, example).items() if not maps or (o.ndim == 4 and len(o) == maps)]
    found = [(n, o) for n, o in found if not within or n == within or n.startswith(f"{within}.")]
    if not found:
        raise SettingsError("no layer of this network keeps a map of its input; explain it by occlusion instead")
    positive = [n for n, (_, output) in enumerate(found) if output.min() >= 0]
    if rectified and positive:
        found = found[: positive[-1] + 1]
    last, output = found.pop()
    while found and found[-1][0].startswith(f"{last}.") and found[-1][1] is output:
        last, output = found.pop()
    return last


def check_layer(model: nn.Module, name: str, example: Tensor) -> None:
    """Raise SettingsError, which lists layers that can be taken, when there is no such layer or it keeps no map."""
    known = map_layers(model, example)
    if name in known:
        return
    there = any(name == other for other, _ in model.named_modules())
    wrong = "keeps no map of its input in the layer" if there else "has no layer called"
    shown = [n for n in known if n.count(".") <= 1] or list(known)
    raise SettingsError(f"this network {wrong} {name!r}; choose one of: {', '.join(shown[-_SHOWN:]) or 'none'}")


def _maps(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [m.register_forward_hook(_noting(found, name)) for name, m in model.named_modules() if name]
    try:
        with looking(model), torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _noting(found: dict[str, Tensor], name: str) -> Any:
    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (4, 5) and output[0, 0].numel() > 1:
            found.pop(name, None)  # asked several times: its place is that of the last time
            found[name] = output

    return note
