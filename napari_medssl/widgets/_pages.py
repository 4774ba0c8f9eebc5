"""Lines of advice as pages of a text browser."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from napari_medssl.guidance.conflicts import CONFLICTS
from napari_medssl.guidance.recommend import Candidate, Recommendation
from napari_medssl.guidance.rules import RULES
from napari_medssl.guidance.text import (
    choice_lines,
    clash_line,
    conflict_lines,
    explain,
    method_line,
    method_notes,
    missing_lines,
    paradigm_lines,
    reason,
)

_STEP_PX = 7


def page(lines: Iterable[str]) -> str:
    """HTML of lines: those at the margin are headings, the others keep their indent."""
    return "".join(_line(line) for line in lines)


def _line(line: str) -> str:
    text = html.escape(line.strip())
    indent = len(line) - len(line.lstrip())
    if not indent:
        return f"<p style='margin-top:8px; margin-bottom:2px'><b>{text}</b></p>" if text else ""
    return f"<div style='margin-left:{indent * _STEP_PX}px'>{text}</div>"


def advice_page(answer: Recommendation) -> str:
    """Paradigm, fine-tuning and the other aspects, and which facts are missing."""
    return page([*paradigm_lines(answer), *choice_lines(answer), *missing_lines(answer)])


def reasons_page(answer: Recommendation) -> str:
    """Every rule that applies, by aspect."""
    lines: list[str] = []
    for aspect in dict.fromkeys(rule.aspect for rule in answer.rules):
        lines.append(aspect[0].upper() + aspect[1:])
        lines += (f"  {reason(rule)}" for rule in answer.rules if rule.aspect == aspect)
    return page(lines)


def method_page(candidate: Candidate) -> str:
    """All there is to a method on the shortlist: its rules in full."""
    return page(_method_lines(candidate))


def _method_lines(candidate: Candidate) -> Iterator[str]:
    yield method_line(candidate)
    yield from (f"  {note}" for note in method_notes(candidate))
    parts = (("For it", candidate.pro), ("Against it", candidate.contra), ("Once chosen", candidate.if_chosen))
    for title, ids in parts:
        if ids:
            yield title
        for rule_id in ids:
            yield from (f"  {line}" for line in explain(RULES[rule_id]))


def conflicts_page(answer: Recommendation) -> str:
    """Rules that pull apart here, then all contradictions, those that concern the facts first."""
    lines = ["Rules that apply here and pull apart"] if answer.clashes else []
    lines += (f"  {clash_line(clash)}" for clash in answer.clashes)
    others = [conflict for conflict in CONFLICTS if conflict not in answer.conflicts]
    for title, found in (("Concerning your facts", answer.conflicts), ("Elsewhere", others)):
        if found:
            lines.append(title)
        for conflict in found:
            lines += (f"  {line}" for line in conflict_lines(conflict))
    return page(lines)
