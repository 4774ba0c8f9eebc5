"""Occlusion sensitivity: how much a class loses when a part of the image is hidden."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from monai.visualize.occlusion_sensitivity import OcclusionSensitivity
from torch import Tensor, nn

from napari_medssl.classify.explain.modes import looking
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.errors import SettingsError, WeightsError

_FILLS = {"dark": "gaussian", "mean": "mean_img", "patch": "mean_patch"}
_LEAST = 2  # pixels of a patch


def occlusion_map(model: nn.Module, image: Tensor, *, target: int, settings: ExplainSettings) -> Tensor:
    """What hiding each place costs the class, (*sides) float32 on the CPU, at least 0, not scaled.

    model: maps (B, C, *sides) to scores (B, classes) before softmax or sigmoid. image: (1, C, *sides), two or three
    sides. Neighbouring slices in the channels are hidden together, at the same place.

    A pixel's value is the mean fall of the score over the patches that hid it; where hiding raises the score it is 0.
    The score and not the probability, which does not move while the network is very sure (ours).

    Raises SettingsError for a class the network does not have, WeightsError when it gives values that are not numbers.

    Source: Zeiler and Fergus (2014), computed by MONAI. Cost: (overlap 0.5) about (2 / patch) ** sides passes.
    """
    if image.ndim not in (4, 5) or len(image) != 1:
        raise ValueError(f"one image (1, C, y, x) or (1, C, z, y, x) is hidden at a time; got {tuple(image.shape)}")
    sides = image.shape[2:]
    hide = OcclusionSensitivity(
        _Target(model, target), mask_size=_patch(sides, settings.patch), n_batch=settings.batch, verbose=False,
        mode=_FILLS[settings.fill], overlap=settings.overlap, activate=False,
    )  # fmt: skip
    with looking(model), torch.inference_mode(), warnings.catch_warnings():
        # MONAI indexes with lists in one place, which the newest PyTorch will read in another way.
        warnings.filterwarnings("ignore", message="Using a non-tuple sequence for multidimensional indexing")
        before = hide.nn_module(image)[0, 0]
        after = hide(image)[0].as_tensor()[0, 0]  # type: ignore[attr-defined]  # MONAI's own kind of tensor
    if not (torch.isfinite(before) and torch.isfinite(after).all()):
        raise WeightsError("the network gives values that are not numbers; its weights are damaged, choose others")
    fall: Tensor = (before - after).clamp(min=0).float().cpu()
    return fall


def _patch(sides: Sequence[int], share: float) -> list[int]:
    """Cubic in 2D; along z of a 3D input the same share of that axis, for it may be much shorter."""
    return [min(side, max(_LEAST, round(share * side))) for side in sides]


class _Target(nn.Module):
    """The score of one class alone, (B, 1)."""

    def __init__(self, model: nn.Module, target: int) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, images: Tensor) -> Tensor:
        scores = cast(Tensor, self.model(images))
        if scores.ndim != 2 or not 0 <= self.target < scores.shape[1]:
            raise SettingsError(f"class number {self.target} was asked for; the network gives {tuple(scores.shape)}")
        return scores[:, self.target : self.target + 1]


class OneOfBag(nn.Module):
    """A network of bags of slices, as a function of one of them: (B, C, y, x) to (B, classes).

    bag: (1, S, C, y, x), the slices of one examination; slice number `member` is the one that is put in.
    """

    def __init__(self, model: nn.Module, bag: Tensor, member: int) -> None:
        super().__init__()
        self.model, self.bag, self.member = model, bag, member

    def forward(self, slices: Tensor) -> Tensor:
        bags = self.bag.expand(len(slices), -1, -1, -1, -1).clone()
        bags[:, self.member] = slices
        return cast(Tensor, self.model(bags))
