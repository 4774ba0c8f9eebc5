"""`medssl recommend`: which method to use for a task, and why."""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from napari_medssl.cli.options import Option, options, settings_from
from napari_medssl.errors import SettingsError
from napari_medssl.guidance.cost import PRICES
from napari_medssl.guidance.notice import NOTICE
from napari_medssl.guidance.question import PLANS, Question

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.guidance.recommend import Recommendation

_PIPED = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: one for every fact of a question, then what to show."""
    plans = "\n".join(f"  {name:<21} {text}" for name, text in PLANS.items())
    parser.epilog = f"plans:\n{plans}\n\n{NOTICE}"
    facts = parser.add_argument_group("facts of the task; leave out what you do not know")
    for option in options(Question):
        if option.name != "plans":
            facts.add_argument(_flag(option.name), **_how(option))
    facts.add_argument("--plan", action="append", default=[], metavar="PLAN", help="what you plan; may be repeated")
    show = parser.add_argument_group("what to show")
    show.add_argument("--json", metavar="FILE", help="the whole answer as JSON; - for standard output")
    show.add_argument("--force", action="store_true", help="replace a file that exists")
    show.add_argument("--all", action="store_true", help="the whole shortlist")
    show.add_argument("--why", action="append", default=[], metavar="RULE", help="explain a rule, such as R-27")
    show.add_argument("--rules", action="store_true", help="list every rule")
    show.add_argument("--conflicts", action="store_true", help="where the documents contradict each other")
    show.add_argument("--flowchart", type=int, metavar="N", help="walk chart N (1 to 5) with the facts")
    show.add_argument(
        "--answer",
        action="append",
        default=[],
        metavar="NAME=yes",
        help="answer a question of the chart; may be repeated",
    )
    show.add_argument("--systems", action="store_true", help="every method and protocol of the documents, by family")
    show.add_argument("--cost", metavar="KIND=N", help=f"price of N labels on medical images: {', '.join(PRICES)}")


def run(args: argparse.Namespace, console: Console) -> None:
    """Show what was asked for; the recommendation when nothing else was."""
    question = _question(args)
    shown = [(args.why, _explain), (args.rules, _rules), (args.conflicts, _conflicts)]
    shown += [(args.flowchart is not None, _flowchart), (args.systems, _systems), (args.cost, _cost)]
    wanted = [show for asked, show in shown if asked]
    for show in wanted:
        show(args, question, console)
    if not wanted or args.json:
        _recommend(args, question, console)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _how(option: Option) -> dict[str, Any]:
    """The keywords of `add_argument` for a fact; its value stays text, which `settings_from` reads by its type."""
    text = option.text.replace("%", "%%")
    if get_origin(option.hint) is Literal:
        words = [str(word) for word in get_args(option.hint)]
        return {"type": _word(words), "choices": words, "help": text, "metavar": "|".join(words)}
    return {
        "help": text,
        "metavar": "Z,Y,X" if get_origin(option.hint) is tuple else "NAME" if option.hint is str else "N",
    }


def _word(words: list[str]) -> Callable[[str], str]:
    """Upper and lower case are one."""
    return lambda text: next((word for word in words if word.lower() == text.lower()), text)


def _question(args: argparse.Namespace) -> Question:
    from napari_medssl.guidance.question import check_question

    stated = {o.name: getattr(args, o.name) for o in options(Question) if o.name != "plans"}
    texts = [f"{name}={value}" for name, value in stated.items() if value is not None]
    if args.plan:
        texts.append(f"plans={','.join(args.plan)}")
    question = settings_from(Question, assignments=texts)
    check_question(question)
    return question


def _recommend(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.recommend import recommend
    from napari_medssl.guidance.text import lines

    answer = recommend(question)
    if args.json:
        _write_json(args, answer, console)
        return
    _say(console, lines(answer, full=args.all))


def _write_json(args: argparse.Namespace, answer: Recommendation, console: Console) -> None:
    import json

    from napari_medssl.guidance.recommend import as_dict

    facts = as_dict(answer)
    if args.json == "-":
        console.say(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.report import write_report

    path = Path(args.json)
    check_outputs([path], force=args.force)
    write_report(path, facts)
    console.say(f"written: {path}")


def _explain(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.rules import find_rule
    from napari_medssl.guidance.sources import DOCUMENTS
    from napari_medssl.guidance.text import explain

    found = [find_rule(name) for name in args.why]
    for rule in found:
        applies = "applies to the stated facts" if rule.when(question) else "does not apply to the stated facts"
        _say(console, [*explain(rule), f"  here      {applies}", ""])
    letters = sorted({source.document for rule in found for source in rule.sources})
    _say(console, [f"{letter}: {DOCUMENTS[letter]}" for letter in letters])


def _rules(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.rules import RULES
    from napari_medssl.guidance.text import reason

    _say(console, [reason(rule) for rule in RULES.values()])


def _conflicts(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.conflicts import CONFLICTS
    from napari_medssl.guidance.recommend import recommend
    from napari_medssl.guidance.text import clash_line, conflict_lines

    answer = recommend(question)
    for conflict in CONFLICTS:
        concerned = "   Concerns the stated facts." if conflict in answer.conflicts else ""
        _say(console, [*conflict_lines(conflict), *([concerned] if concerned else []), ""])
    if answer.clashes:
        _say(console, ["Rules that apply here and pull apart:", *(f"  {clash_line(c)}" for c in answer.clashes)])


def _flowchart(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.flowcharts import answers_of, disagree, find_chart, walk, walk_all
    from napari_medssl.guidance.text import chart_line, chart_lines

    chart = find_chart(args.flowchart)
    given = answers_of(chart, question) | _answers(args.answer, list(chart.nodes))
    walked = walk(chart, given)
    _say(console, chart_lines(chart, walked))
    if walked.node:
        console.say(f"  To go on: --answer {walked.node}=yes, or =no")
    others = walk_all(question)
    verdict = "They disagree." if disagree(others) else "Those that answer agree."
    _say(console, ["", f"The five charts for the stated facts. {verdict}", *(f"  {chart_line(w)}" for w in others)])


def _answers(texts: list[str], names: list[str]) -> dict[str, bool]:
    answers = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise SettingsError(f"--answer {text!r} names no question of the chart; did you mean {close[0]!r}?")
        if value.lower() not in ("yes", "no"):
            raise SettingsError(f"--answer {text!r} is no answer; write {name}=yes or {name}=no")
        answers[name] = value.lower() == "yes"
    return answers


def _systems(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.taxonomy import SYSTEMS

    rows = [(s.family or "-", s.id, s.title, s.role, ", ".join(s.methods) or "-", s.where) for s in SYSTEMS]
    rows.sort(key=lambda row: (row[0] == "-", row[0], row[1].rjust(5)))
    console.table(("family", "row", "what", "role", "methods here", "source"), rows, left=6)


def _cost(args: argparse.Namespace, question: Question, console: Console) -> None:
    from napari_medssl.guidance.cost import annotation_cost

    kind, equals, count = args.cost.partition("=")
    if not equals or not count.isdecimal():
        raise SettingsError(f"--cost {args.cost!r} is no price to reckon; write KIND=N, such as segmentation=200")
    console.say(str(annotation_cost(kind, int(count))))


def _say(console: Console, lines: Iterable[str]) -> None:
    """Lines, wrapped with their indent on a terminal; whole where another program reads them."""
    width = min(shutil.get_terminal_size((_PIPED, 24)).columns, _PIPED) if sys.stdout.isatty() else 0
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        console.say(textwrap.fill(line, width, subsequent_indent=indent) if width and len(line) > width else line)
