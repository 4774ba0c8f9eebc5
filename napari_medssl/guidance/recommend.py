"""From facts to a ranked shortlist with reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from napari_medssl.guidance.conflicts import Conflict, touching
from napari_medssl.guidance.flowcharts import Walk, disagree, walk_all
from napari_medssl.guidance.methods import METHODS, SCRATCH, TABLE_3, Entry, methods_of
from napari_medssl.guidance.notice import NOTICE
from napari_medssl.guidance.paradigm import Decision, decide
from napari_medssl.guidance.question import Question, check_question
from napari_medssl.guidance.rule import Aspect, Rule
from napari_medssl.guidance.rules import RULES, fired
from napari_medssl.guidance.sources import by_section
from napari_medssl.settings import to_dict

_DECIDING = ("task", "dims", "labels", "unlabelled", "imbalance", "domain_gap")
_COLUMNS = ("nodule classification, AUC", "nodule segmentation, Dice", "liver segmentation, Dice")


@dataclass(frozen=True)
class Choice:
    """One answer within an aspect: rules for and against it, and their weights summed."""

    aspect: Aspect
    name: str
    score: int
    pro: tuple[str, ...]
    contra: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A pretraining method on the shortlist.

    pro, contra: rules for and against it. if_chosen: further rules that hold once it is chosen. variants: other methods
    of its kind. measured: what D's table 3 has of its kind on the nearest of its targets, or "".
    """

    method: Entry
    score: int
    pro: tuple[str, ...]
    contra: tuple[str, ...]
    if_chosen: tuple[str, ...]
    variants: tuple[str, ...]
    measured: str
    command: str


@dataclass(frozen=True)
class Clash:
    """Two rules that apply and pull apart; `followed` is one of them, or "" when neither outweighs the other."""

    first: Rule
    second: Rule
    followed: str
    why: str


@dataclass(frozen=True)
class Recommendation:
    """The answer to a question: every rule that applies stands in `rules`, and so do the reasons of all that is said.

    choices: per aspect, best first; the aspect "pretext" is `shortlist`. decision: the step of R-21, where it applies.
    charts: the five charts of G for these facts. missing: facts not stated that could change the answer.
    """

    question: Question
    rules: tuple[Rule, ...]
    decision: Decision | None
    choices: dict[Aspect, tuple[Choice, ...]]
    shortlist: tuple[Candidate, ...]
    clashes: tuple[Clash, ...]
    conflicts: tuple[Conflict, ...]
    charts: tuple[Walk, ...]
    missing: tuple[str, ...]
    notice: str = NOTICE

    @property
    def charts_disagree(self) -> bool:
        """Whether the five charts come to different answers."""
        return disagree(self.charts)

    @property
    def cited(self) -> tuple[str, ...]:
        """Ids of all rules that are named anywhere in the answer."""
        ids = {rule.id for rule in self.rules}
        for candidate in self.shortlist:
            ids |= {*candidate.pro, *candidate.contra, *candidate.if_chosen}
        return tuple(rule_id for rule_id in RULES if rule_id in ids)


def recommend(question: Question) -> Recommendation:
    """Apply every rule to the stated facts.

    Raises SettingsError for a fact outside its limits. Ranking: the weights of the rules for a choice less those
    against it; methods that tie stand in the order of D's table 3 for the nearest task, then as in the list of methods.
    All of this is ours: the documents give statements, not a ranking.
    """
    check_question(question)
    rules = fired(question)
    decision = decide(question) if any(rule.id == "R-21" for rule in rules) else None
    shortlist = _shortlist(question, rules)
    named = {rule.id for rule in rules}
    return Recommendation(
        question,
        rules,
        decision,
        _choices(rules, decision),
        shortlist,
        _clashes(rules, decision),
        touching(named),
        walk_all(question),
        _missing(question),
    )


def _choices(rules: Iterable[Rule], decision: Decision | None) -> dict[Aspect, tuple[Choice, ...]]:
    votes: dict[Aspect, dict[str, tuple[list[Rule], list[Rule]]]] = {}
    for rule in rules:
        if rule.aspect == "pretext":
            continue
        for side, names in enumerate((rule.prefers, rule.avoids)):
            for name in names:
                votes.setdefault(rule.aspect, {}).setdefault(name, ([], []))[side].append(rule)
    ranked = {aspect: _ranked(aspect, names) for aspect, names in votes.items()}
    if decision is not None:
        ranked["paradigm"] = _decided_first(ranked.get("paradigm", ()), decision)
    return ranked


def _ranked(aspect: Aspect, names: dict[str, tuple[list[Rule], list[Rule]]]) -> tuple[Choice, ...]:
    made = [
        Choice(aspect, name, _sum(pro) - _sum(contra), tuple(r.id for r in pro), tuple(r.id for r in contra))
        for name, (pro, contra) in names.items()
    ]
    return tuple(sorted(made, key=lambda choice: -choice.score))


def _decided_first(choices: tuple[Choice, ...], decision: Decision) -> tuple[Choice, ...]:
    """R-21 is an order of questions, not a vote: its answer comes first, whatever the sums."""
    first = next((c for c in choices if c.name == decision.answer), Choice("paradigm", decision.answer, 0, (), ()))
    return (
        dataclasses.replace(first, pro=("R-21", *first.pro)),
        *(choice for choice in choices if choice.name != decision.answer),
    )


def _sum(rules: Iterable[Rule]) -> int:
    return sum(rule.weight for rule in rules)


def _shortlist(question: Question, rules: tuple[Rule, ...]) -> tuple[Candidate, ...]:
    named = {rule.id for rule in rules}
    scored = [_candidate(entry, question, rules) for entry in METHODS.values() if _offered(entry, question, named)]
    worth = [c for c in scored if c.pro or c.method.name == question.method]
    worth.sort(key=lambda c: (-c.score, -_measured(c.method, question)[0], list(METHODS).index(c.method.name)))
    best: dict[tuple[str, int], Candidate] = {}
    for candidate in worth:
        key = (candidate.method.kind, candidate.method.dims)
        first = best.setdefault(key, candidate)
        if first is not candidate:
            best[key] = dataclasses.replace(first, variants=(*first.variants, candidate.method.name))
    return tuple(best.values())


def _offered(entry: Entry, question: Question, named: set[str]) -> bool:
    """Whether a method fits the dimensions; slices serve volumes too where R-17 says so, and always in episodes."""
    if entry.name == question.method or question.dims == "unknown" or entry.family == "episodes":
        return True
    return question.dims == f"{entry.dims}D" or (entry.dims == 2 and "R-17" in named)


def _candidate(entry: Entry, question: Question, rules: tuple[Rule, ...]) -> Candidate:
    """A method judged as if it were chosen: rules about it then speak as well."""
    known = {rule.id for rule in rules}
    further = [rule for rule in fired(dataclasses.replace(question, method=entry.name)) if rule.id not in known]
    judged = [*rules, *further]
    pro = [rule for rule in judged if rule.aspect == "pretext" and _names(rule.prefers, entry)]
    contra = [rule for rule in judged if rule.aspect == "pretext" and _names(rule.avoids, entry)]
    voting = {rule.id for rule in (*pro, *contra)}
    applying = {rule.id for rule in judged}
    return Candidate(
        entry,
        _sum(pro) - _sum(contra),
        tuple(rule.id for rule in pro),
        tuple(rule.id for rule in contra),
        tuple(rule.id for rule in further if rule.id not in voting),
        (),
        _measured(entry, question)[1],
        command_line(entry.name, question, without_skips="R-44" in applying),
    )


def _names(tokens: tuple[str, ...], entry: Entry) -> bool:
    return any(entry.name in methods_of(token) for token in tokens)


def _measured(entry: Entry, question: Question) -> tuple[float, str]:
    """(gain over no pretraining in D's table 3, a phrase); -1 for what was not measured there."""
    if entry.kind not in TABLE_3 or question.task not in ("classification", "segmentation", "one-shot", "detection"):
        return -1.0, ""
    column = 0 if question.task in ("classification", "detection") else 2
    if column == 2 and (question.round_target == "yes" or question.object_size == "small"):
        column = 1
    value, scratch = TABLE_3[entry.kind][column], SCRATCH[column]
    form = "" if entry.dims == 3 else "its 3D form: "
    phrase = f"{form}{_COLUMNS[column]} {value:.2f}, from scratch {scratch:.2f} (3D CT; D, table 3)"
    return round(value - scratch, 2) + 10.0, phrase  # over every method that was not measured, also with a loss


def command_line(method: str, question: Question, *, without_skips: bool = False) -> str:
    """The command that trains it as the rules say; DATA stands for the user's folders."""
    options = " --set skip=false" if without_skips else ""
    options += f" --set run.batch={question.batch}" if question.batch > 0 else ""
    return f"medssl pretrain {method} DATA --out run-{method}{options}"


def _clashes(rules: tuple[Rule, ...], decision: Decision | None) -> tuple[Clash, ...]:
    found = []
    for at, first in enumerate(rules):
        for second in rules[at + 1 :]:
            if second.id in first.against or first.id in second.against:
                found.append(Clash(first, second, *_follow(first, second, decision)))
    return tuple(found)


def _follow(first: Rule, second: Rule, decision: Decision | None) -> tuple[str, str]:
    if {first.id, second.id} == {"R-18", "R-26"}:
        return "", "both: the default is a list of three, not one best method"
    if decision is not None and {first.aspect, second.aspect} == {"paradigm"}:
        for rule in (first, second):
            if decision.answer in rule.prefers:
                return rule.id, f"step {decision.step} of R-21's order"
    if first.weight == second.weight:
        return "", f"both are {first.strength}; neither outweighs the other"
    stronger = max(first, second, key=lambda rule: rule.weight)
    weaker = second if stronger is first else first
    return stronger.id, f"{stronger.strength} against {weaker.strength}"


def _missing(question: Question) -> tuple[str, ...]:
    plain = Question()
    return tuple(name for name in _DECIDING if getattr(question, name) == getattr(plain, name))


def as_dict(answer: Recommendation) -> dict[str, Any]:
    """The whole answer as plain JSON data, every cited rule with its sources."""
    return {
        "notice": answer.notice,
        "question": _stated(answer.question),
        "not_stated": list(answer.missing),
        "decision": dataclasses.asdict(answer.decision) if answer.decision else None,
        "choices": {aspect: [dataclasses.asdict(c) for c in choices] for aspect, choices in answer.choices.items()},
        "shortlist": [_candidate_dict(candidate) for candidate in answer.shortlist],
        "applies": [rule.id for rule in answer.rules],
        "rules": {rule_id: rule_dict(RULES[rule_id]) for rule_id in answer.cited},
        "clashes": [
            {"rules": [c.first.id, c.second.id], "followed": c.followed or None, "why": c.why} for c in answer.clashes
        ],
        "conflicts": [dataclasses.asdict(conflict) for conflict in answer.conflicts],
        "charts": [
            {
                "chart": w.chart.number,
                "source": str(w.chart.source),
                "answer": w.paradigm or None,
                "open": w.node or None,
            }
            for w in answer.charts
        ],
        "charts_disagree": answer.charts_disagree,
    }


def rule_dict(rule: Rule) -> dict[str, Any]:
    """A rule as plain data."""
    return {
        "aspect": rule.aspect,
        "if": rule.condition,
        "then": rule.advice,
        "strength": rule.strength,
        "sources": [str(source) for source in rule.sources],
        "places": by_section(rule.sources),
        "against": list(rule.against),
        "counter": rule.counter or None,
    }


def _candidate_dict(candidate: Candidate) -> dict[str, Any]:
    values = dataclasses.asdict(candidate)
    entry = values.pop("method")
    return {"method": entry["name"], **{k: entry[k] for k in ("title", "family", "dims")}, **values}


def _stated(question: Question) -> dict[str, Any]:
    plain = to_dict(Question())
    return {name: value for name, value in to_dict(question).items() if value != plain[name]}
