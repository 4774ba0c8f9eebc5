"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from napari_medssl.guidance.question import Question
from napari_medssl.guidance.sources import Source, parse

Aspect: TypeAlias = Literal[
    "paradigm",
    "start",
    "pretext",
    "fine-tuning",
    "batch norm",
    "skip connections",
    "resampling",
    "augmentation",
    "temperature",
    "training",
    "scan model",
    "prototypes",
    "evaluation",
]
Strength: TypeAlias = Literal["strong", "medium", "weak", "ours"]

STRENGTHS: dict[Strength, tuple[int, str]] = {
    "strong": (3, "own controlled experiment of the document, several settings"),
    "medium": (2, "one experiment, or a clear argument with numbers"),
    "weak": (1, "an opinion, a review's statement or a single secondary source"),
    "ours": (1, "our reading where the documents differ or are silent"),
}
"""Weight in the ranking, and what the word means. The weights are ours; the documents only order them."""


@dataclass(frozen=True)
class Rule:
    """One statement of the documents that holds under a condition.

    condition, advice: sentences for people. when: the same condition, asked of the stated facts. prefers, avoids: what
    it speaks for and against among the choices of its aspect; for the aspect "pretext" words of `methods_of`.
    against: rules that pull the other way. counter: what in the documents speaks against the rule itself.
    """

    id: str
    aspect: Aspect
    condition: str
    advice: str
    strength: Strength
    where: str
    when: Callable[[Question], bool] = field(repr=False, compare=False)
    prefers: tuple[str, ...] = ()
    avoids: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    counter: str = ""

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The lines that say so; none for what is ours alone."""
        return parse(self.where) if self.where else ()

    @property
    def weight(self) -> int:
        """Its weight in the ranking."""
        return STRENGTHS[self.strength][0]
