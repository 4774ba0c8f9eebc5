"""Tables of an accuracy measurement: every organ, beside alternatives, and by number of labelled slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from napari_medssl.bench.averages import Average, Comparison, Line, against, gains, lines

if TYPE_CHECKING:
    from napari_medssl.bench.accuracy import Protocol, Score
    from napari_medssl.cli.console import Console
    from napari_medssl.metrics.intervals import Interval

Names = Mapping[int, str]
_HEAD = (
    "organ", "scans",
    "Dice", "95 %", "in range", "surface Dice", "HD95 mm", "volume %", "|volume| %", "seconds", "CPU s"
)  # fmt: skip
_MARKS = {"behind": "<", "surely behind": "<<", "ahead": "", "surely ahead": "", "even": "=", "": "?"}


def print_accuracy(scores: Sequence[Score], console: Console, protocol: Protocol, names: Names) -> None:
    """Every organ from the fewest labelled slices, differences to alternatives, and means by number of slices."""
    crossed = protocol.task == "across"
    found = lines(scores, crossed=crossed)
    counts = sorted({line.slices for line in found})
    first = [line for line in found if line.slices == counts[0]]
    methods = list(dict.fromkeys(line.method for line in first))
    for n, method in enumerate(methods):
        if len(methods) > 1 or len(counts) > 1:
            console.say(("\n" if n else "") + f"{method}, {_plural(counts[0], 'labelled slice')}")
        console.table(_HEAD, [_row(line, names) for line in first if line.method == method], left=1)
    _explain(first, console, protocol)
    differences = against(scores, crossed=crossed)
    if differences:
        _print_differences(differences, first, console, names)
    if len(counts) > 1:
        _print_curve(counts, found, gains(scores, crossed=crossed), console)


def _row(line: Line, names: Names) -> tuple[str, ...]:
    values = line.values
    lost = "*" if line.undefined["hd95_mm"] else ""
    return (
        _name(line.organ, names),
        str(line.scans),
        _number(values["whole"]),
        _ends(values["whole"].interval),
        _number(values["in_range"]),
        _number(values["surface_dice"]),
        _number(values["hd95_mm"], 1) + lost,
        _number(values["volume_percent"], 1, sign=True),
        _number(values["absolute_volume_percent"], 1),
        f"{line.seconds:.2f}",
        f"{line.cpu_seconds:.2f}",
    )


def _explain(found: Sequence[Line], console: Console, protocol: Protocol) -> None:
    interval = next((i for line in found if (i := line.values["whole"].interval) is not None), None)
    over = f"95 %: bootstrap over {interval.over}. " if interval is not None else ""
    console.say(f"\n{over}Surface Dice at {protocol.tolerance_mm:g} mm.")
    lost = sum(line.undefined["hd95_mm"] for line in found if line.organ)
    if lost:
        console.say(f"* HD95 without {_plural(lost, 'result')} that found nothing to measure from.")


def _print_differences(
    differences: Sequence[Comparison], found: Sequence[Line], console: Console, names: Names
) -> None:
    rows = []
    means = {(line.method, line.organ): line.values["whole"] for line in found}
    for c in differences:
        rows.append(
            (
                c.second,
                _name(c.organ, names),
                _MARKS[c.verdict],
                _number(means[c.first, c.organ]),
                _number(means[c.second, c.organ]) if (c.second, c.organ) in means else "-",
                _number(c.value, sign=True),
                _ends(c.value.interval, sign=True),
            )
        )
    console.say("\nDice (whole), paired on the same labels")
    console.table(("against", "organ", "", "medssl", "it", "difference", "95 %"), rows, left=3)
    behind = [c for c in differences if "behind" in c.verdict]
    if behind:
        console.say("< medssl is behind; << and the interval over subjects leaves out 0")


def _print_curve(counts: Sequence[int], found: Sequence[Line], gained: Sequence[Comparison], console: Console) -> None:
    methods = list(dict.fromkeys(line.method for line in found))
    common = {(line.method, line.slices): line for line in found if not line.organ}
    by_count = {int(c.first): c for c in gained if not c.organ}
    rows = []
    for count in counts:
        gain = by_count.get(count)
        own = common.get((methods[0], count))
        cells = [_number(common[m, count].values["common"]) if (m, count) in common else "-" for m in methods]
        rows.append(
            (
                str(count),
                *cells,
                "" if gain is None else _number(gain.value, sign=True),
                "" if gain is None else _ends(gain.value.interval, sign=True),
                "" if own is None else f"{own.seconds:.2f}",
            )
        )
    console.say("\nDice by number of labelled slices, mean over organs, on slices that none of them labels")
    console.table(("slices", *methods, "gain", "95 %", "seconds"), rows, left=0)


def _name(organ: int, names: Names) -> str:
    return names.get(organ, str(organ)) if organ else "mean"


def _number(value: Average, digits: int = 3, *, sign: bool = False) -> str:
    if value.mean is None:
        return "-"
    return f"{value.mean:{'+' if sign else ''}.{digits}f}"


def _ends(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return "-"
    plus = "+" if sign else ""
    return (
        f"{interval.low:{plus}.3f} to {interval.high:{plus}.3f}" if sign else f"{interval.low:.3f}-{interval.high:.3f}"
    )


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
