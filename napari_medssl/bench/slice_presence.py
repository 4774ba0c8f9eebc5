"""How well organs are found on slices: from few labelled people, from ten marked slices, and across modalities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.bench.slice_scans import BY_HAND, FIRST, TRAINED, KnownScan, engines_of, known_scans_steps
from napari_medssl.classify.slices.learn import learn_slices
from napari_medssl.classify.slices.marks import several_classes
from napari_medssl.classify.slices.settings import LearnSettings
from napari_medssl.engine.device import choose_device, policy_for
from napari_medssl.errors import FormatError, SupportError
from napari_medssl.evaluate.candidate import Candidate, load_candidate
from napari_medssl.evaluate.data import load_for, spread
from napari_medssl.evaluate.finetune import finetune_steps
from napari_medssl.evaluate.fit import FitSettings
from napari_medssl.evaluate.presence import presence
from napari_medssl.evaluate.run import cases_of
from napari_medssl.metrics.classification import auc
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.train.dataset import Case

SCRATCH = "from scratch"
SHOWN_ALONE = " alone"
"""Added to a source whose head knew none but the labelled scans; otherwise it saw the test scans without labels, as
when a worklist is open."""


@dataclass(frozen=True)
class PresenceSettings:
    """What is measured."""

    subjects: tuple[int, ...] = (1, 2, 4, 8)
    repeats: int = setting(3, "choices of the labelled people", ge=1, le=100)
    slices_per_scan: int = setting(24, "slices of each scan, at even distances; 0: all", ge=0)
    ten: int = setting(6, "scans in each of which ten slices are marked; 0 leaves it out", ge=0)
    scratch: bool = setting(True, "also train a network from scratch, the slowest part")
    scratch_size: int = setting(96, "side of its slices in pixels", ge=32, le=512)
    scratch_steps: int = setting(120, "its steps of 16 slices", ge=1)
    seed: int = setting(0, "of people, marks and first weights", ge=0)
    learn: LearnSettings = field(default_factory=lambda: LearnSettings(members=2))


@dataclass(frozen=True)
class PresenceRow:
    """A mean over organs and repeats.

    task: "people", "ten slices" or "across". data: tested on. source: of the vectors. learned_from: what was labelled.
    auc: mean over organs, then over repeats; low, high: of the repeats. organs: each by itself. seconds: of learning,
    with the vectors there (from scratch: of training).
    """

    task: str
    data: str
    source: str
    learned_from: str
    auc: float
    low: float
    high: float
    organs: dict[str, float]
    seconds: float


def presence_steps(
    folders: Sequence[Path],
    settings: PresenceSettings,
    *,
    weights: str | Path = "default",
    device: str = "auto",
    only: Sequence[str] = (),
    held_out: Sequence[str] = (),
) -> Steps[list[PresenceRow]]:
    """Every row for every folder of labelled scans, and across all pairs of folders.

    The truth of a slice: an organ covers at least 25 mm2 of it (`evaluate.presence`). AUC is over all slices of all
    people who were not learned from. "Ten slices": ten even slices of a scan are marked, tested on its others.

    held_out: beginnings of names of scans that the weights never saw; where a folder has some, only these are tested.

    Raises FormatError when a folder holds no labelled scan, or fewer people than are to be labelled and tested.
    """
    rows: list[PresenceRow] = []
    sets: dict[str, list[KnownScan]] = {}
    folders_cases = [(folder.name, cases_of(folder, only=only, labelled=True)) for folder in folders]
    with engines_of(weights, device, seed=settings.seed) as engines:
        for name, cases in folders_cases:
            sets[name] = yield from known_scans_steps(cases, engines, slices_per_scan=settings.slices_per_scan)
    for name, cases in folders_cases:
        rows += yield from _people_rows(name, sets[name], settings, held_out)
        rows += yield from _ten_rows(name, _tested(sets[name], held_out), settings)
        if settings.scratch:
            rows += yield from _scratch_rows(name, cases, settings, weights, device, held_out)
    rows += yield from _across_rows(sets, settings, held_out)
    return rows


def _people_rows(
    data: str, scans: Sequence[KnownScan], settings: PresenceSettings, held_out: Sequence[str]
) -> Steps[list[PresenceRow]]:
    rows = []
    tested = _tested(scans, held_out)
    pool = scans if tested == list(scans) else [s for s in scans if s not in tested]
    sources = [(s, known) for s in scans[0].vectors for known in ((True, False) if s == TRAINED else (True,))]
    for n, (source, worklist) in enumerate(sources):
        for count in settings.subjects:
            yield Progress(n, len(sources), f"learning on {data}", f"{source}, {count} people")
            results, seconds = [], []
            for repeat in range(settings.repeats):
                chosen = _people(pool, count, settings.seed + repeat, all_tested=tested == list(scans))
                learn_from = [s for s in pool if s.person in chosen]
                test = [s for s in tested if s.person not in chosen]
                start = time.perf_counter()
                results.append(_aucs(learn_from, test, source, settings, worklist=worklist))
                seconds.append(time.perf_counter() - start)
            name = source if worklist else source + SHOWN_ALONE
            rows.append(_row("people", data, name, _people_text(count), results, seconds))
    return rows


def _ten_rows(data: str, scans: Sequence[KnownScan], settings: PresenceSettings) -> Steps[list[PresenceRow]]:
    rows = []
    chosen = [s for s in scans if len(s.organs) > 12][: settings.ten]
    for n, source in enumerate(scans[0].vectors if chosen else ()):
        results, seconds = [], []
        for scan in chosen:
            yield Progress(n, len(scan.vectors), f"ten slices on {data}", source)
            marked = spread(10, len(scan.organs)).tolist()
            start = time.perf_counter()
            results.append(_ten_aucs(scan, source, marked, settings))
            seconds.append(time.perf_counter() - start)
        rows.append(_row("ten slices", data, source, "10 slices of the scan", results, seconds))
    return rows


def _across_rows(
    sets: dict[str, list[KnownScan]], settings: PresenceSettings, held_out: Sequence[str]
) -> Steps[list[PresenceRow]]:
    """Learned on all scans of one folder, tested on another, for the organs both name."""
    rows = []
    for learned in sets:
        for tested in sets:
            if learned == tested:
                continue
            for source in sets[learned][0].vectors:
                yield Progress(0, 0, "across data sets", f"{learned} to {tested}, {source}")
                start = time.perf_counter()
                found = _aucs(sets[learned], _tested(sets[tested], held_out), source, settings, worklist=True)
                rows.append(_row("across", tested, source, learned, [found], [time.perf_counter() - start]))
    return [r for r in rows if r.organs]


def _scratch_rows(
    data: str, cases: Sequence[Case], settings: PresenceSettings, weights: str | Path, device: str,
    held_out: Sequence[str],
) -> Steps[list[PresenceRow]]:  # fmt: skip
    """The same architecture with first weights, all of it trained on the labelled slices; one choice of people."""
    policy = policy_for(choose_device(device))
    candidate: Candidate = load_candidate(weights, policy, size=settings.scratch_size)
    if not candidate.learns:
        return []
    scans = yield from load_for(candidate, cases)
    count = settings.slices_per_scan or max(len(s.image) for s in scans)
    examples = presence(scans, slices_per_scan=count)
    fit = FitSettings(steps=settings.scratch_steps, balance="weights")
    rows = []
    for people in settings.subjects:
        rng = np.random.default_rng(settings.seed)
        kept = np.array([s.name.startswith(tuple(held_out)) if held_out else False for s in scans])[examples.scan]
        chosen = rng.permutation(np.unique(examples.subjects[~kept]))[:people]
        train = np.flatnonzero(np.isin(examples.subjects, chosen))
        test = np.flatnonzero(kept if kept.any() else ~np.isin(examples.subjects, chosen))
        start = time.perf_counter()
        found = yield from finetune_steps(
            candidate, scans, examples, train=train, test=test, settings=fit, seed=settings.seed,
            device=policy.device, scratch=True,
        )  # fmt: skip
        organs = {
            name: value
            for c, name in enumerate(examples.labels)
            if examples.targets[train, c].any()
            and (value := auc(examples.targets[test, c].astype(int), found[:, c]).value) is not None
        }
        rows.append(_row("people", data, SCRATCH, _people_text(people), [organs], [time.perf_counter() - start]))
    return rows


def _aucs(
    learn_from: Sequence[KnownScan], test: Sequence[KnownScan], source: str, settings: PresenceSettings, *,
    worklist: bool,
) -> dict[str, float]:  # fmt: skip
    """Organ to AUC over all slices of the test scans; organs that cannot be learned or judged are left out."""
    organs = sorted({o for s in learn_from for shown in s.organs.values() for o in shown})
    if not organs:
        raise FormatError("the label maps to learn from are empty")
    vectors = {s.name: s.vectors[source] for s in (*learn_from, *(test if worklist else ()))}
    head = learn_slices(vectors, several_classes(organs, {s.name: s.organs for s in learn_from}), settings.learn)
    scores = np.concatenate([head.scores(s.vectors[source]).probability for s in test])
    return _judged(head.classes, scores, [shown for s in test for _, shown in sorted(s.organs.items())])


def _ten_aucs(scan: KnownScan, source: str, marked: Sequence[int], settings: PresenceSettings) -> dict[str, float]:
    organs = sorted({o for z in marked for o in scan.organs[z]})
    marks = several_classes(organs, {scan.name: {z: scan.organs[z] for z in marked}})
    try:
        head = learn_slices({scan.name: scan.vectors[source]}, marks, settings.learn)
    except SupportError:  # every organ on all or on none of the ten
        return {}
    others = [z for z in sorted(scan.organs) if z not in marked]
    scores = head.scores(scan.vectors[source]).probability[others]
    return _judged(head.classes, scores, [scan.organs[z] for z in others])


def _judged(classes: Sequence[str], scores: Any, shown: Sequence[Sequence[str]]) -> dict[str, float]:
    found = {}
    for c, name in enumerate(classes):
        truth = np.array([name in organs for organs in shown], int)
        value = auc(truth, scores[:, c]).value
        if value is not None:
            found[name] = value
    return found


def _tested(scans: Sequence[KnownScan], held_out: Sequence[str]) -> list[KnownScan]:
    """The scans to test on: those held out, where there are some, else all."""
    kept = [s for s in scans if held_out and s.name.startswith(tuple(held_out))]
    return kept or list(scans)


def _people(scans: Sequence[KnownScan], count: int, seed: int, *, all_tested: bool) -> set[str]:
    people = np.unique([s.person for s in scans])
    if count >= len(people) + (not all_tested):
        raise FormatError(
            f"{count} people are to be labelled, but there are {len(people)}, and some must be left to test"
        )
    return set(np.random.default_rng(seed).permutation(people)[:count].tolist())


def _people_text(count: int) -> str:
    return f"{count} people" if count > 1 else "1 person"


def _row(
    task: str, data: str, source: str, learned_from: str, results: Sequence[dict[str, float]], seconds: Sequence[float]
) -> PresenceRow:
    means = [float(np.mean(list(r.values()))) for r in results if r]
    names = sorted({name for r in results for name in r})
    organs = {name: float(np.mean([r[name] for r in results if name in r])) for name in names}
    mean, low, high = (float(f(means)) if means else float("nan") for f in (np.mean, np.min, np.max))
    return PresenceRow(task, data, source, learned_from, mean, low, high, organs, float(np.median(seconds)))


__all__ = ["BY_HAND", "FIRST", "SCRATCH", "SHOWN_ALONE", "TRAINED", "PresenceRow", "PresenceSettings", "presence_steps"]
