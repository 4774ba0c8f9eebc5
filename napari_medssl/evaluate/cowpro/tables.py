"""The four published tables with our numbers beside, and what the compared ways differ by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.evaluate.cowpro import published
from napari_medssl.evaluate.cowpro.averages import Difference, Mean, Scores, difference, mean_of, per_organ
from napari_medssl.evaluate.cowpro.variants import Head, Region, Threshold, Variant


@dataclass(frozen=True)
class Row:
    """A line: our means and the thesis' percents, for each organ and the mean over them; None where there is none."""

    name: str
    ours: tuple[Mean | None, ...]
    thesis: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """title: with the number of the thesis. columns: organs and "mean"."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Effect:
    """What one thing changes for one organ, ours and the thesis', in points of Dice."""

    name: str
    organ: str
    ours: Difference
    thesis: float | None

    @property
    def agrees(self) -> str:
        """Ours against the thesis' sign: "as published", "opposite", or "not told apart" when the interval holds 0."""
        if self.thesis is None:
            return "-"
        if not self.ours.sure:
            return "not told apart"
        return "as published" if self.ours.value * self.thesis > 0 else "opposite"


def all_tables(scores: Scores) -> tuple[Table, ...]:
    """Tables 7.1 to 7.4. Rows of the thesis alone have no numbers of ours."""
    return _methods(scores), _thresholds(scores), _quadrants(scores), _prototypes(scores)


def main_encoder(scores: Scores) -> str:
    """The encoder the tables are about: the trained or the given one."""
    return scores.encoders[0]


def all_effects(scores: Scores, *, resamples: int) -> tuple[Effect, ...]:
    """Paired differences: threshold, quadrants, share of prototypes, window, aggregation, training."""
    found: list[Effect] = []

    def compare(name: str, first: Variant, second: Variant, thesis: dict[str, float], *encoders: str) -> None:
        a, b = encoders or (main_encoder(scores),) * 2
        for organ in scores.organs:
            ours = difference(scores.values(a, first, organ), scores.values(b, second, organ), resamples=resamples)
            if ours is not None:
                found.append(Effect(name, organ, ours, thesis.get(organ)))

    plain = Variant()
    compare(
        "dynamic - fixed threshold",
        Variant(threshold="dynamic"),
        plain,
        _minus(published.THRESHOLDS, "dynamic", "fixed"),
    )
    regions: dict[str, Region] = {"labelled slices": "support", "anatomy": "anatomy", "truth, oracle": "truth"}
    for words, region in regions.items():
        quadrants = _minus(published.QUADRANTS, "yes", "no")
        compare(f"quadrants ({words}) - none", Variant(region=region), plain, quadrants)
    for window, numbers in published.PROTOTYPES.items():
        for percent in published.PERCENTS[1:]:
            thesis = _pairs(np.subtract(numbers[percent], numbers[100.0]))
            name = f"{percent:g} % - 100 % of prototypes, window {window}"
            compare(name, Variant(window=window, percent=percent), Variant(window=window), thesis)
    widths = _pairs(np.subtract(published.PROTOTYPES[2][100.0], published.PROTOTYPES[4][100.0]))
    compare("window 2 - window 4", Variant(window=2), plain, widths)
    heads: dict[Head, str] = {"alpnet": "SSL-ALPNet", "panet": "SSL-PANet"}
    for head, name in heads.items():
        thesis = _minus(published.METHODS, "CoWPro", name)
        compare(f"CoWPro - {_LIKE[head]}, no quadrants", plain, Variant(head), thesis)
    if "untrained" in scores.encoders:
        compare("trained - first weights", plain, plain, {}, main_encoder(scores), "untrained")
    return tuple(found)


_LIKE: dict[Head, str] = {"cowpro": "CoWPro", "alpnet": "like ALPNet", "panet": "like PANet"}


def _methods(scores: Scores) -> Table:
    encoder = main_encoder(scores)
    rows = [
        Row(name, (None,) * _width(scores), _thesis(scores, numbers)) for name, numbers in published.METHODS.items()
    ]
    heads: dict[Head, str] = {"panet": "SSL-PANet", "alpnet": "SSL-ALPNet"}
    rows += [_row(scores, f"ours, {_LIKE[h]}", Variant(h), published.METHODS[name]) for h, name in heads.items()]
    masked = Variant(region="support")
    rows.append(_row(scores, "ours, CoWPro: fixed, quadrants", masked, published.METHODS["CoWPro"]))
    rows.append(_row(scores, "ours, CoWPro: threshold by organ, quadrants", masked, None, by_organ=True))
    if "untrained" in scores.encoders and encoder != "untrained":
        rows.append(_row(scores, "ours, first weights: fixed, quadrants", masked, None, encoder="untrained"))
    return Table("Table 7.1: methods", _columns(scores), tuple(rows))


def _thresholds(scores: Scores) -> Table:
    modes: tuple[Threshold, ...] = ("fixed", "dynamic")
    rows = [_row(scores, mode, Variant(threshold=mode), published.THRESHOLDS[mode]) for mode in modes]
    return Table("Table 7.2: threshold, without quadrants", _columns(scores), tuple(rows))


def _quadrants(scores: Scores) -> Table:
    yes, no = published.QUADRANTS["yes"], published.QUADRANTS["no"]
    rows = (
        _row(scores, "yes, from the labelled slices", Variant(region="support"), yes),
        _row(scores, "yes, by a table of sides", Variant(region="anatomy"), yes),
        _row(scores, "yes, from the truth (oracle)", Variant(region="truth"), yes),
        _row(scores, "no", Variant(), no),
    )
    return Table("Table 7.3: quadrants, fixed threshold", _columns(scores), rows)


def _prototypes(scores: Scores) -> Table:
    """With the fixed threshold, and whole with the dynamic one: the thesis does not say which it used (B7-38)."""
    rows = []
    for window, numbers in published.PROTOTYPES.items():
        for percent in published.PERCENTS:
            variant = Variant(window=window, percent=percent)
            rows.append(_row(scores, f"window {window}, {percent:g} %", variant, numbers[percent]))
        variant = Variant(threshold="dynamic", window=window)
        rows.append(_row(scores, f"window {window}, 100 %, dynamic", variant, numbers[100.0]))
    return Table("Table 7.4: window and share of prototypes, without quadrants", _columns(scores), tuple(rows))


def _row(
    scores: Scores,
    name: str,
    variant: Variant,
    thesis: Sequence[float] | None,
    *,
    encoder: str = "",
    by_organ: bool = False,
) -> Row:
    encoder = encoder or main_encoder(scores)
    chosen = {organ: per_organ(organ, variant) if by_organ else variant for organ in scores.organs}
    each = [mean_of(scores.values(encoder, v, organ)) for organ, v in chosen.items()]
    mean = mean_of(scores.over_organs(encoder, chosen))
    return Row(name, (*each, mean), _thesis(scores, thesis))


def _thesis(scores: Scores, numbers: Sequence[float] | None) -> tuple[float | None, ...]:
    """By our organs and columns; the mean only where all four organs are there and are ours."""
    if numbers is None:
        return (None,) * _width(scores)
    by_name = dict(zip(published.ORGANS, numbers, strict=False))
    all_there = len(numbers) == len(published.ORGANS) and set(scores.organs) == set(published.ORGANS)
    mean = round(float(np.mean(numbers)), 2) if all_there else None
    return (*(by_name.get(organ) for organ in scores.organs), mean)


def _columns(scores: Scores) -> tuple[str, ...]:
    return (*scores.organs, "mean")


def _width(scores: Scores) -> int:
    return len(scores.organs) + 1


def _minus(table: dict[str, tuple[float, float, float, float]], first: str, second: str) -> dict[str, float]:
    return _pairs(np.subtract(table[first], table[second]))


def _pairs(points: np.ndarray) -> dict[str, float]:
    return {organ: round(float(p), 2) for organ, p in zip(published.ORGANS, points, strict=False)}
