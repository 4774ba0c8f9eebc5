"""A recommendation in words."""

from __future__ import annotations

from collections.abc import Iterator

from napari_medssl.guidance.conflicts import CONFLICTS, Conflict
from napari_medssl.guidance.flowcharts import Ask, Chart, Walk
from napari_medssl.guidance.recommend import Candidate, Clash, Recommendation
from napari_medssl.guidance.rule import STRENGTHS, Rule
from napari_medssl.guidance.rules import RULES
from napari_medssl.guidance.sources import by_section

SHOWN = 6
"""Methods of the shortlist that are printed unless all are asked for."""

_SETTLING = {
    "task": "which pretexts suit",
    "dims": "methods for slices or for volumes",
    "labels": "supervised or self-supervised, fine-tuning",
    "unlabelled": "supervised or self-supervised",
    "imbalance": "resampling",
    "domain_gap": "pretexts that transfer, batch normalisation",
}


def lines(answer: Recommendation, *, full: bool = False) -> Iterator[str]:
    """The answer, heading by heading; `full` prints the whole shortlist."""
    yield from paradigm_lines(answer)
    yield from _methods(answer, full=full)
    yield from choice_lines(answer)
    yield from _pulls(answer)
    yield from _charts(answer)
    yield from _reasons(answer, full=full)
    yield from missing_lines(answer)
    yield ""
    yield "T: thesis by Manna, 2025. D: Zhang and Gu, 2022. G: guide by Campbell, 2025. R: review, 2026. Lines of each."
    yield answer.notice


def missing_lines(answer: Recommendation) -> Iterator[str]:
    """Facts that are not stated, and what they would settle."""
    if answer.missing:
        yield ""
        yield "Not stated, and could change the answer"
        yield from (f"  {name}: {_SETTLING[name]}" for name in answer.missing)


def paradigm_lines(answer: Recommendation) -> Iterator[str]:
    """Supervised, self-supervised or both, best first."""
    yield "Paradigm"
    choices = answer.choices.get("paradigm", ())
    if answer.decision is not None:
        yield f"  Step {answer.decision.step} of R-21: {answer.decision.why}."
    if not choices:
        yield "  Not decided by the stated facts."
    for at, choice in enumerate(choices, 1):
        yield f"  {at}. {choice.name}{votes(choice.pro, choice.contra)}"


def _methods(answer: Recommendation, *, full: bool) -> Iterator[str]:
    yield ""
    yield "Pretraining methods, if you pretrain (a list to try from the top)"
    shown = answer.shortlist if full else answer.shortlist[:SHOWN]
    if not shown:
        yield "  None of the methods here fits the stated facts."
    for at, candidate in enumerate(shown, 1):
        yield f"  {at}. {method_line(candidate)}"
        yield from (f"     {line}" for line in method_notes(candidate))
    if len(answer.shortlist) > len(shown):
        rest = ", ".join(c.method.name for c in answer.shortlist[len(shown) :])
        yield f"  then: {rest}"
    if answer.shortlist:
        yield f"  {answer.shortlist[0].command}"


def method_line(candidate: Candidate) -> str:
    """Name, title and votes of a method in a line."""
    entry = candidate.method
    return f"{entry.name} ({entry.title}; {entry.family}, {entry.dims}D){votes(candidate.pro, candidate.contra)}"


def method_notes(candidate: Candidate) -> Iterator[str]:
    """What else is to be said of a method on the shortlist."""
    if candidate.measured:
        yield f"measured: {candidate.measured}"
    if candidate.variants:
        yield f"variants: {', '.join(candidate.variants)}"
    if candidate.if_chosen:
        yield f"once chosen: {', '.join(candidate.if_chosen)}"


def votes(pro: tuple[str, ...], contra: tuple[str, ...]) -> str:
    """ " [R-22 strong; against: R-34 weak]", or nothing."""
    told = [", ".join(f"{rule_id} {RULES[rule_id].strength}" for rule_id in ids) for ids in (pro, contra)]
    parts = [part for part in (told[0], f"against: {told[1]}" if told[1] else "") if part]
    return f"  [{'; '.join(parts)}]" if parts else ""


def choice_lines(answer: Recommendation) -> Iterator[str]:
    """The choices of every other aspect, with a sign for each."""
    for aspect, choices in answer.choices.items():
        if aspect == "paradigm":
            continue
        yield ""
        yield aspect[0].upper() + aspect[1:]
        for choice in choices:
            sign = "+" if choice.score > 0 else "-" if choice.score < 0 else "="
            yield f"  {sign} {choice.name}{votes(choice.pro, choice.contra)}"


def _pulls(answer: Recommendation) -> Iterator[str]:
    if answer.clashes or answer.conflicts:
        yield ""
        yield "Where the documents disagree"
    for clash in answer.clashes:
        yield f"  {clash_line(clash)}"
    for conflict in answer.conflicts:
        yield f"  {conflict.number}. {conflict.title} {conflict.resolution}"


def clash_line(clash: Clash) -> str:
    """Two rules that pull apart, and which one is followed."""
    followed = f"followed: {clash.followed}, {clash.why}" if clash.followed else clash.why
    return f"{clash.first.id} against {clash.second.id} ({followed})"


def _charts(answer: Recommendation) -> Iterator[str]:
    yield ""
    verdict = "They disagree." if answer.charts_disagree else "Those that answer agree."
    yield f"The five charts of G for these facts. {verdict}"
    yield from (f"  {chart_line(walk)}" for walk in answer.charts)


def chart_line(walk: Walk) -> str:
    """A chart and its answer, or the question it still asks."""
    return f"chart {walk.chart.number} ({walk.chart.where}): {outcome(walk)}"


def outcome(walk: Walk) -> str:
    """The end of a walk in words."""
    if walk.paradigm:
        return walk.paradigm
    node = walk.chart.nodes[walk.node] if walk.node else None
    return f"open: {node.text}" if isinstance(node, Ask) else "no answer: the chart has no edge here"


def _reasons(answer: Recommendation, *, full: bool) -> Iterator[str]:
    named = {rule.id for rule in answer.rules}
    for candidate in answer.shortlist if full else answer.shortlist[:SHOWN]:
        named |= {*candidate.pro, *candidate.contra, *candidate.if_chosen}
    yield ""
    yield "Reasons (medssl recommend --why RULE tells more)"
    for rule in RULES.values():
        if rule.id in named:
            yield f"  {reason(rule)}"


def reason(rule: Rule) -> str:
    """A rule in a line: id, strength, condition, advice, sources."""
    sources = ", ".join(str(source) for source in rule.sources)
    return f"{rule.id} ({rule.strength}; {rule.condition}) {rule.advice} [{sources}]"


def explain(rule: Rule) -> Iterator[str]:
    """All there is to a rule."""
    yield f"{rule.id} · {rule.aspect}"
    yield f"  if        {rule.condition}"
    yield f"  then      {rule.advice}"
    yield f"  strength  {rule.strength}: {STRENGTHS[rule.strength][1]}"
    for place in by_section(rule.sources):
        yield f"  source    {place}"
    for other in rule.against:
        yield f"  against   {reason(RULES[other])}"
    if rule.counter:
        yield f"  but       {rule.counter}"
    for conflict in CONFLICTS:
        if rule.id in conflict.rules:
            yield f"  conflict  {conflict.number}. {conflict.title}"


def conflict_lines(conflict: Conflict) -> Iterator[str]:
    """The sides of a conflict with their sources, and how we read it."""
    yield f"{conflict.number}. {conflict.title}"
    for side in conflict.sides:
        yield f"   - {side.claim} [{', '.join(str(source) for source in side.sources)}]"
    yield f"   Our reading: {conflict.resolution}"
    yield f"   Rules: {', '.join(conflict.rules)}"


def chart_lines(chart: Chart, walked: Walk) -> Iterator[str]:
    """A chart as printed, with the way that facts or answers took through it."""
    yield f"Chart {chart.number}: {chart.title} ({chart.where})"
    taken = dict(walked.path)
    for name, node in chart.nodes.items():
        if isinstance(node, Ask):
            given = {True: "yes", False: "no"}.get(taken[name], "") if name in taken else ""
            mark = f"  <- {given}" if given else "  <- open" if name == walked.node else ""
            yield f"  {node.text}{mark}"
            yield f"     yes: {_end(chart, node.yes)}"
            yield f"     no:  {_end(chart, node.no)}"
    yield f"  Answer for these facts: {outcome(walked)}"
    if chart.note:
        yield f"  Note: {chart.note}"


def _end(chart: Chart, name: str) -> str:
    if not name:
        return "(no edge)"
    node = chart.nodes[name]
    return node.text if isinstance(node, Ask) else f"{node.text} [{node.paradigm}]"
