"""Does a pretext network read the anatomy, or only borders, seams and voids?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example, Task

_DOUBT = 0.01
"""Accuracies that guessing reaches with this probability or more count as guessed."""


class Classifier(Protocol):
    """What can be audited: a torch module that answers a prepared batch with logits, (B, classes)."""

    def logits(self, batch: Example) -> Tensor: ...


@dataclass(frozen=True)
class ShortcutReport:
    """Accuracies of one network on the same examples, each in [0, 1].

    full: on whole images. borders: when only the borders of the image, or of each patch, are shown. centres: when only
    what the borders leave is shown. chance: by guessing. examples: number of examples.
    tolerance: share of the gain over guessing that borders alone must keep to be called a shortcut.
    """

    full: float
    borders: float
    centres: float
    chance: float
    examples: int
    tolerance: float

    @property
    def learned(self) -> bool:
        """Whether the accuracy on whole images is above guessing."""
        return self._above_chance(self.full)

    @property
    def kept_by_borders(self) -> float:
        """Share of the gain over guessing that is left when only borders are shown; 0 when nothing was learned."""
        return self._kept(self.borders)

    @property
    def kept_by_centres(self) -> float:
        """Share of the gain over guessing that is left when only centres are shown; 0 when nothing was learned."""
        return self._kept(self.centres)

    @property
    def leak(self) -> bool:
        """Whether borders rule: alone they keep `tolerance` of the gain over guessing, and more than the centres."""
        kept = self.learned and self._above_chance(self.borders) and self.kept_by_borders >= self.tolerance
        return kept and self.borders > self.centres

    @property
    def sentence(self) -> str:
        """The finding in words, with what to do."""
        numbers = (
            f"accuracy {self.full:.1%} on whole images, {self.borders:.1%} on borders alone, {self.centres:.1%} on "
            f"centres alone, {self.chance:.1%} by guessing ({self.examples} examples)"
        )
        if not self.learned:
            return f"Nothing to judge: the network does not solve its task yet; train it longer. {numbers}"
        shares = (
            f"borders alone give {self.kept_by_borders:.0%} of what was learned, centres {self.kept_by_centres:.0%}"
        )
        if self.leak:
            cure = "Show less border, fill voids by mirroring, crop after the change, or take another task."
            return f"Shortcut: {shares}. {cure} {numbers}"
        return f"No shortcut by borders found: {shares}. {numbers}"

    def _kept(self, accuracy: float) -> float:
        return max(0.0, accuracy - self.chance) / (self.full - self.chance) if self.learned else 0.0

    def _above_chance(self, accuracy: float) -> bool:
        right = round(accuracy * self.examples)
        return bool(stats.binom.sf(right - 1, self.examples, self.chance) < _DOUBT)


def audit_shortcuts(
    objective: Classifier,
    task: Task,
    scans: Sequence[Scan],
    *,
    examples: int = 256,
    batch: int = 32,
    border: float = 0.1,
    tolerance: float = 0.2,
    seed: int = 0,
) -> ShortcutReport:
    """Accuracy of a trained pretext network with whole images, with their borders alone, with their centres alone.

    objective: as trained on `task`, on its own device. scans: best such as were not trained on. border: its width as a
    share of the side. tolerance: share of the gain over guessing that borders alone must keep to be called a shortcut.
    For tasks whose batches have an image or patches, in two or three dimensions; borders of patches are the seams of
    the puzzle. What is not shown is filled with the mean of what is, so that the filling tells nothing more.

    Thesis 3.3 finds shortcuts by looking at Grad-CAM maps; measuring them, and the numbers here, are ours. A network
    has not seen such fillings, so that both accuracies fall even where each part would be enough: hence the small
    tolerance, and the comparison of borders with centres instead of a bound for the borders alone.
    """
    module = objective if isinstance(objective, nn.Module) else nn.Module()
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    try:
        right, classes = np.zeros(3), 1
        for start in range(0, examples, batch):
            seeds = range(start, min(start + batch, examples))
            drawn = [task.draw(scans, np.random.default_rng([seed, n])) for n in seeds]
            prepared = task.prepare({name: torch.stack([d[name] for d in drawn]).to(device) for name in drawn[0]})
            counts, classes = _right_answers(objective, prepared, border)
            right += counts
    finally:
        module.train(was_training)
    full, borders, centres = (right / examples).tolist()
    return ShortcutReport(full, borders, centres, 1 / classes, examples, tolerance)


@torch.no_grad()
def _right_answers(objective: Classifier, batch: Example, border: float) -> tuple[list[int], int]:
    """Numbers of right answers to whole, border and centre, and the number of classes."""
    name = "image" if "image" in batch else "patches"
    images = batch[name]
    leading = 2 if name == "image" else 3  # axes before the spatial ones
    counts = []
    for shown in (images, show_border(images, border, leading=leading), show_centre(images, border, leading=leading)):
        logits = objective.logits({**batch, name: shown})
        counts.append(int((logits.argmax(1) == batch["label"]).sum()))
    return counts, logits.shape[1]


def show_border(images: Tensor, share: float, *, leading: int = 2) -> Tensor:
    """Images (..., spatial) of which only the border, `share` of each side wide, is left; the rest is its mean.

    leading: number of axes before the spatial ones.
    """
    return _filled(images, _is_border(images.shape[leading:], share).to(images.device), leading)


def show_centre(images: Tensor, share: float, *, leading: int = 2) -> Tensor:
    """Images (..., spatial) without their border, which becomes the mean of the rest; see `show_border`."""
    return _filled(images, ~_is_border(images.shape[leading:], share).to(images.device), leading)


def _is_border(shape: Sequence[int], share: float) -> Tensor:
    """Mask of this shape; the border is at least one pixel wide and leaves at least one in the middle."""
    border = torch.ones(tuple(shape), dtype=torch.bool)
    widths = [min(max(1, round(share * n)), (n - 1) // 2) for n in shape]
    border[tuple(slice(w, n - w) for w, n in zip(widths, shape, strict=True))] = False
    return border


def _filled(images: Tensor, shown: Tensor, leading: int) -> Tensor:
    axes = tuple(range(leading, images.ndim))
    mean = (images * shown).sum(axes, keepdim=True) / shown.sum()
    return torch.where(shown, images, mean)
