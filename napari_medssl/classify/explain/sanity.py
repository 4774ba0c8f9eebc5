"""Whether an explanation depends on what the network has learned: the test with randomised weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from napari_medssl.classify.explain.explain import found_maps
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Shown
from napari_medssl.progress import Progress, Steps, finish

ALIKE = 0.5
"""Ours: a map that still has this mean rank correlation with its original when every weight is random follows the image
and not the network. Adebayo et al. show curves and name no limit."""

_SSIM_SIDE = 7  # the window of the structural similarity, and so the fewest cells it can be told on


@dataclass(frozen=True)
class SanityStep:
    """part: what has been randomised, with everything after it. Similarities to the map of the trained network:
    rank: Spearman's correlation of cells, mean over maps. structure: structural similarity, None on fewer than 7 cells.
    """

    part: str
    rank: float
    structure: float | None


@dataclass(frozen=True)
class Sanity:
    """steps: from the head to the first layer. passed: the last one is no longer like the original."""

    steps: tuple[SanityStep, ...]
    passed: bool

    @property
    def sentence(self) -> str:
        """What it means, for people."""
        rank = self.steps[-1].rank
        if self.passed:
            return f"with all weights random the map is another (rank correlation {rank:.2f}): it depends on training"
        return (
            f"with all weights random the map is still alike (rank correlation {rank:.2f}): "
            "it follows the image rather than what was learned; do not read it as evidence"
        )

    def facts(self) -> dict[str, Any]:
        """For a report."""
        steps = [{"part": s.part, "rank": s.rank, "structure": s.structure} for s in self.steps]
        return {"steps": steps, "passed": self.passed, "limit": ALIKE, "sentence": self.sentence}


def explain_sanity(model: nn.Module, shown: Shown, **options: Any) -> Sanity:
    """`explain_sanity_steps` run to the end."""
    return finish(explain_sanity_steps(model, shown, **options))


def explain_sanity_steps(
    model: nn.Module, shown: Shown, *, target: int, settings: ExplainSettings | None = None, seed: int = 0
) -> Steps[Sanity]:
    """How alike maps stay while the network's parts are randomised one after the other, the head first.

    shown: a few slices that show the class will do. The network itself is not touched: a copy of it is, which takes
    its memory once more.

    Source: Adebayo et al., Sanity checks for saliency maps (2018), cascading randomisation. Ours: a part's values are
    shuffled within each of its tensors instead of drawn anew, which keeps their distribution and works for every kind
    of layer; parts are the children of the network and of its encoder; buffers stay.
    """
    settings = settings or ExplainSettings()
    _, first = yield from found_maps(model, shown, target, settings)
    broken, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    parts = cascade(broken)
    steps = []
    for n, (name, part) in enumerate(parts):
        yield Progress(n, len(parts), "randomising", name)
        shuffle_weights(part, generator)
        _, now = yield from found_maps(broken, shown, target, settings)
        steps.append(SanityStep(name, rank_similarity(first, now), structure_similarity(first, now)))
    return Sanity(tuple(steps), not steps or steps[-1].rank < ALIKE)


def cascade(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a network that have weights, from its end to its beginning, by dotted name.

    Children in reverse order of writing, which is from output to input in this package's networks; one that has parts
    of its own (an encoder, a list of stages) is taken apart once more.
    """
    found: list[tuple[str, nn.Module]] = []
    for name, child in reversed(list(model.named_children())):
        inner = [(f"{name}.{n}", c) for n, c in child.named_children() if any(True for _ in c.parameters())]
        found += reversed(inner) if len(inner) > 1 else [(name, child)]
    kept = [(n, m) for n, m in found if any(True for _ in m.parameters())]
    return kept or ([("network", model)] if any(True for _ in model.parameters()) else [])


def shuffle_weights(part: nn.Module, generator: torch.Generator) -> None:
    """Put the values of each parameter in random order, in place."""
    with torch.no_grad():
        for parameter in part.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def rank_similarity(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of the cells of (A, *cells) maps, mean over maps; a map that is all equal counts 0."""
    values = [_spearman(a.flatten().numpy(), b.flatten().numpy()) for a, b in zip(first, second, strict=True)]
    return float(np.mean(values))


def structure_similarity(first: Tensor, second: Tensor) -> float | None:
    """Structural similarity of (A, *cells) maps, each from 0 to 1, mean over maps; None when they are too small."""
    if min(first.shape[1:]) < _SSIM_SIDE:
        return None
    values = [
        float(structural_similarity(_unit(a), _unit(b), data_range=1.0, win_size=_SSIM_SIDE))  # type: ignore[no-untyped-call]
        for a, b in zip(first, second, strict=True)
    ]
    return float(np.mean(values))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _unit(found: Tensor) -> np.ndarray:
    values = found.numpy() - float(found.min())
    return np.asarray(values / max(float(values.max()), 1e-12))
