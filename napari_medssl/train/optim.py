"""The published optimiser: plain SGD with momentum and a learning rate that falls in steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_medssl.settings import setting


@dataclass(frozen=True)
class SgdSettings:
    """Thesis 7.5.2: 1e-3, x 0.95 every 1,000 iterations. Momentum and weight decay are the authors' code's (B7-23)."""

    learning_rate: float = setting(1e-3, "Learning rate at the start.", ge=0.0, le=10.0)
    decay: float = setting(0.95, "Factor on the learning rate after every `decay_every` iterations.", ge=0.0, le=1.0)
    decay_every: int = setting(1000, "Iterations between two decays.", ge=1)
    momentum: float = setting(0.9, "Momentum.", ge=0.0, le=0.999)
    weight_decay: float = setting(5e-4, "Weight decay.", ge=0.0, le=1.0)
    clip_norm: float = setting(0.0, "Largest length of the gradient; 0 leaves it as it is.", ge=0.0, advanced=True)


def make_sgd(parameters: Iterable[torch.nn.Parameter], settings: SgdSettings) -> torch.optim.SGD:
    """The optimiser over the parameters that want a gradient."""
    trained = [p for p in parameters if p.requires_grad]
    return torch.optim.SGD(
        trained, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def rate_at(step: int, settings: SgdSettings) -> float:
    """Learning rate of the step with this number, counted from 0."""
    return settings.learning_rate * settings.decay ** (step // settings.decay_every)


def apply_gradient(optimiser: torch.optim.SGD, loss: Tensor, step: int, settings: SgdSettings) -> bool:
    """One optimiser step down `loss`; False, and nothing changed, when loss or gradient are not finite.

    Parameters the loss does not reach keep their values.
    """
    optimiser.zero_grad(set_to_none=True)
    if not math.isfinite(float(loss.detach())):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    length = torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm or math.inf)
    if not math.isfinite(float(length)):
        optimiser.zero_grad(set_to_none=True)
        return False
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, settings)
    optimiser.step()
    return True
