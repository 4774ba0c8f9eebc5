"""Where a statement stands in the four documents."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

from napari_medssl.guidance.outline import OUTLINE

DOCUMENTS: dict[str, str] = {
    "T": "S. Manna, Self-Supervised Learning and its Applications in Medical Image Analysis, PhD thesis, 2025",
    "D": "C. Zhang, Y. Gu, Dive into Self-Supervised Learning for Medical Image Analysis, 2022, arXiv:2209.12157",
    "G": "W. Campbell, Supervised vs. Self-Supervised Learning in Medical Imaging, web guide, 2025",
    "R": "Task-Aligned Self-Supervised Learning for Medical Image Analysis, review, 2026, arXiv:2605.23995 (abstract)",
}
"""Letter to document, as in docs/seeds.md."""


@dataclass(frozen=True)
class Source:
    """Lines `first` to `last` of a document's plain text (the page or paper as text, a paragraph a line)."""

    document: str
    first: int
    last: int

    @property
    def section(self) -> str:
        """The heading the lines stand under; empty for the abstract R, which has none."""
        starts = list(OUTLINE[self.document])
        at = bisect.bisect_right(starts, self.first) - 1
        return OUTLINE[self.document][starts[at]] if at >= 0 else ""

    def __str__(self) -> str:
        lines = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.document} {lines}"


def parse(text: str) -> tuple[Source, ...]:
    """The sources a rule names: a document's letter, then lines or ranges, parts divided by ";".

    >>> [str(source) for source in parse("G 666 1216; D 198-210")]
    ['G 666', 'G 1216', 'D 198-210']
    """
    found = []
    for part in text.split(";"):
        letter, *places = part.split()
        if letter not in DOCUMENTS or not places:
            raise ValueError(f"{part!r} names no document and line; the letters are {', '.join(DOCUMENTS)}")
        for place in places:
            if not re.fullmatch(r"\d+(-\d+)?", place):
                raise ValueError(f"{place!r} is no line and no range of lines")
            first, _, last = place.partition("-")
            found.append(Source(letter, int(first), int(last or first)))
    return tuple(found)


def by_section(sources: tuple[Source, ...]) -> list[str]:
    """The sources for people: document, heading, lines; one entry per heading."""
    groups: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        groups.setdefault((source.document, source.section), []).append(str(source)[2:])
    return [
        f"{letter}{f', {section}' if section else ''} (line{'s' if len(lines) > 1 or '-' in lines[0] else ''} "
        f"{', '.join(lines)})"
        for (letter, section), lines in groups.items()
    ]
