"""The optimisers of the documents and their presets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.train.run_settings import OptimSettings

_OPTIMISERS: dict[str, Callable[[list[dict[str, Any]], OptimSettings], torch.optim.Optimizer]] = {
    "sgd": lambda groups, s: torch.optim.SGD(groups, lr=s.learning_rate, momentum=s.momentum),
    "adam": lambda groups, s: torch.optim.Adam(groups, lr=s.learning_rate),
    "adamw": lambda groups, s: torch.optim.AdamW(groups, lr=s.learning_rate),
    "rmsprop": lambda groups, s: torch.optim.RMSprop(groups, lr=s.learning_rate, alpha=0.9, momentum=s.momentum),
    "lars": lambda groups, s: Lars(groups, s.learning_rate, momentum=s.momentum, trust=s.trust),
}
_DECAY_MATRICES_ONLY = ("adamw", "lars")


def make_optimiser(of: nn.Module | Iterable[nn.Parameter], settings: OptimSettings) -> torch.optim.Optimizer:
    """The optimiser over the parameters of `of` that want a gradient.

    Weight decay: `adamw` and `lars` spare parameters of at most one axis (biases and the weights of normalisation),
    as their users do; `sgd`, `adam` and `rmsprop` decay everything, as the documents' frameworks do. `sgd` uses plain
    momentum; `rmsprop` averages with 0.9, the default of the thesis' framework. Its state is a tensor per parameter.
    """
    parameters = of.parameters() if isinstance(of, nn.Module) else of
    trained = [p for p in parameters if p.requires_grad]
    if settings.name in _DECAY_MATRICES_ONLY:
        spared = [p for p in trained if p.ndim <= 1]
        decayed = [p for p in trained if p.ndim > 1]
    else:
        spared, decayed = [], trained
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return _OPTIMISERS[settings.name]([g for g in groups if g["params"]], settings)


class Lars(torch.optim.Optimizer):
    """SGD with momentum whose rate is scaled per layer by the length of its weights over that of its gradient.

    For weights w with gradient g: r = trust |w| / (|g| + decay |w|), v <- momentum v + lr r (g + decay w), w <- w - v.
    Parameters of at most one axis, and those of which w or g is all zero, take r = 1.

    Source: You, Gitman and Ginsburg 2017, algorithm 1. The thesis names LARS and its learning rate only; momentum
    0.9, decay 1e-6 and trust 1e-3 are the customary ones (B4-14). Sparing biases and normalisation is customary too.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 1e-3,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure`, when given, computes loss and gradients anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)
        return loss

    def _move(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        change = gradient + group["weight_decay"] * p
        if p.ndim > 1:
            change = change * _trust_ratio(p, gradient, group["weight_decay"], group["trust"])
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        velocity = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(change, alpha=group["lr"])
        p.sub_(velocity)


def _trust_ratio(p: Tensor, gradient: Tensor, decay: float, trust: float) -> Tensor:
    weight, slope = torch.linalg.vector_norm(p), torch.linalg.vector_norm(gradient)
    usable = (weight > 0) & (slope > 0)
    ratio = trust * weight / (slope + decay * weight)
    return torch.where(usable, ratio, torch.ones_like(ratio))  # stays on the device: no waiting for a GPU


def square_root_rate(batch: int, base: float = 0.075) -> float:
    """base * sqrt(batch): 1.2 at a batch of 256.

    Source: the scaling thesis 5 and 6 name without its base (B5-14), which is that of SimCLR, appendix B.1.
    """
    return base * math.sqrt(batch)


THESIS_JIGSAW = OptimSettings(
    name="rmsprop", learning_rate=1e-4, schedule="exponential", decay=0.95, momentum=0.0, weight_decay=0.0
)
"""Thesis 3 (SSLACL and SKID): RMSprop 1e-4, x 0.95 after every epoch."""

THESIS_BINARY = OptimSettings(name="lars", learning_rate=0.1, schedule="cosine", weight_decay=1e-6)
"""Thesis 4 (binary contrastive learning): LARS 0.1 with a cosine, without warm-up or restarts."""

THESIS_SMALL = OptimSettings(name="sgd", learning_rate=0.06, schedule="cosine", weight_decay=5e-4)
"""Thesis 5 and 6, small images: SGD 0.06 (0.03 on larger ones) with a cosine; batch 128."""

THESIS_LARGE = OptimSettings(name="lars", learning_rate=square_root_rate(256), schedule="cosine", weight_decay=1e-6)
"""Thesis 5 and 6, large images: LARS with square-root scaling, here for a batch of 256, and a cosine."""

BENCHMARK_3D = OptimSettings(
    name="adam", learning_rate=1e-3, schedule="steps", decay=0.1, decay_every=250, weight_decay=0.0
)
"""Paper 002 (authors' code): Adam 1e-3, x 0.1 at epoch 250."""

BENCHMARK_3D_GENESIS = OptimSettings(
    name="sgd", learning_rate=1.0, schedule="plateau", decay=0.5, momentum=0.9, weight_decay=0.0
)
"""Paper 002, Model Genesis (authors' code): SGD 1.0, x 0.5 when the loss stops falling."""

GUIDE = OptimSettings(name="adamw", learning_rate=1e-4, schedule="cosine", warmup=0.05, weight_decay=0.05)
"""Guide 001: AdamW 1e-4. Cosine, warm-up and decay, which it leaves open, are those usual for masked autoencoders."""

COWPRO = OptimSettings(
    name="sgd", learning_rate=1e-3, schedule="exponential", decay=0.95, momentum=0.9, weight_decay=5e-4
)
"""Thesis 7.5.2: SGD 1e-3, x 0.95 every 1,000 iterations (an epoch of 1,000 examples at batch 1). Momentum and weight
decay are the authors' code's (B7-23)."""

PRESETS: dict[str, OptimSettings] = {
    "thesis-jigsaw": THESIS_JIGSAW,
    "thesis-binary": THESIS_BINARY,
    "thesis-small": THESIS_SMALL,
    "thesis-large": THESIS_LARGE,
    "benchmark-3d": BENCHMARK_3D,
    "benchmark-3d-genesis": BENCHMARK_3D_GENESIS,
    "guide": GUIDE,
    "cowpro": COWPRO,
}
"""The documents' optimisers by name."""
