"""Class activation maps: how strongly each cell of a layer speaks for a class."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from monai.visualize.class_activation_maps import GradCAM, GradCAMpp, ModelWithHooks
from torch import Tensor, nn

from napari_medssl.classify.explain.modes import looking
from napari_medssl.errors import SettingsError, WeightsError

_METHODS = {"gradcam": GradCAM, "gradcam++": GradCAMpp}


def activation_maps(
    model: nn.Module, inputs: Tensor, *, target: int, layer: str, method: Literal["gradcam", "gradcam++"] = "gradcam"
) -> Tensor:
    """Evidence for a class in every cell of a layer: (A, *cells) float32 on the CPU, at least 0, not scaled.

    model: maps `inputs` to scores (B, classes) before softmax or sigmoid. inputs: (B, ...), whatever it takes.
    target: number of the class. layer: dotted name of the module whose output is weighed.

    A is B when the layer sees every input once. A network that folds the slices of an examination into the batch gives
    a map per slice, and a layer that is asked several times in one pass gives the maps of all its calls, one after the
    other. The network is left as it was: no hook, gradient or mode of it changes.

    Raises SettingsError for a class or layer the network does not have, or one that has no part in its scores, and
    WeightsError when the network gives values that are not numbers.

    Source: Selvaraju et al. (2017), Chattopadhyay et al. (2018), computed by MONAI. Differences, all ours: Grad-CAM++
    leaves out the factor exp(score), which is the same in all cells of an image, so that it only sets images apart,
    and overflows for large scores. The maps are neither enlarged nor scaled here.
    """
    cam: Any = _METHODS[method](cast(nn.Module, _Watch(model, layer)), layer)  # it takes a wrapped network as well
    with looking(model):
        found: Tensor = cam.compute_map(inputs, class_idx=target)
    maps = found[:, 0].float().cpu()
    if not torch.isfinite(maps).all():
        raise WeightsError("the network gives values that are not numbers; its weights are damaged, choose others")
    return maps


class _Watch(ModelWithHooks):
    """A network as MONAI's methods ask it, with hooks that go away.

    MONAI's own hooks stay on the network for good, fail on frozen layers and before an in-place ReLU, add to the
    gradients of all parameters, and its Grad-CAM++ multiplies the scores of a batch along the image's last axis.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.model, self.layer = model, layer
        self.score: Tensor = torch.zeros(())  # exp(0): the factor left out of Grad-CAM++

    def __call__(self, x: Tensor, class_idx: Any = None, retain_graph: bool = False, **_: Any) -> Any:
        """(scores, (activations,), (gradients,)) as MONAI's own returns them; both (A, C, *cells)."""
        kept: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor) or output.ndim not in (4, 5):
                raise SettingsError(f"the layer {self.layer!r} keeps no map of its input; choose another one")
            # What earlier calls of a recurrent layer put in must stay connected, everything else begins here.
            kept.append(output if output.requires_grad else output.detach().requires_grad_())
            return kept[-1].clone()  # the next layer may work in place

        hook = _named(self.model, self.layer).register_forward_hook(keep)
        try:
            with torch.enable_grad():
                scores = self.model(x)
        finally:
            hook.remove()
        _check_target(scores, class_idx)
        if not kept:
            raise SettingsError(
                f"the layer {self.layer!r} has no part in the scores; choose one between input and head"
            )
        gradients = _gradients(scores[:, class_idx].sum(), kept, self.layer)
        return scores.detach(), (torch.cat(kept).detach(),), (torch.cat(gradients),)


def _named(model: nn.Module, layer: str) -> nn.Module:
    modules = dict(model.named_modules())
    if layer not in modules:
        raise SettingsError(f"this network has no layer called {layer!r}; map_layers lists those that can be taken")
    return cast(nn.Module, modules[layer])


def _check_target(scores: Tensor, target: int) -> None:
    if scores.ndim != 2:
        raise SettingsError(f"the network gives {tuple(scores.shape)} scores; an explanation needs (inputs, classes)")
    if not 0 <= target < scores.shape[1]:
        raise SettingsError(f"class number {target} was asked for; the network has classes 0 to {scores.shape[1] - 1}")


def _gradients(score: Tensor, kept: list[Tensor], layer: str) -> list[Tensor]:
    found = torch.autograd.grad(score, kept, allow_unused=True) if score.requires_grad else [None] * len(kept)
    if all(g is None for g in found):
        raise SettingsError(f"the layer {layer!r} has no part in the scores; choose one between input and head")
    return [torch.zeros_like(k) if g is None else g for g, k in zip(found, kept, strict=True)]
