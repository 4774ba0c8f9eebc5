"""Where a network looks to solve its pretext task: class activation maps of the head that pretraining throws away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from napari_medssl.classify.explain.explain import Explanation, device_of, explain_steps
from napari_medssl.classify.explain.modes import looking
from napari_medssl.classify.explain.place import FloatArray, cell_affine, map_onto_grid
from napari_medssl.classify.explain.sanity import Sanity, explain_sanity_steps
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Between, Shown
from napari_medssl.engine.checks import check_volume
from napari_medssl.errors import SettingsError
from napari_medssl.pretext.questions import Questions, answers, questions
from napari_medssl.pretext.rotation3d import Turns
from napari_medssl.progress import Progress, Steps, finish, reporting
from napari_medssl.settings import check, setting, to_dict
from napari_medssl.train.grid import grid_of
from napari_medssl.train.opened_run import OpenedRun
from napari_medssl.train.store import prepare_volume
from napari_medssl.volume import Volume

_DOUBT = 0.01  # as of the shortcut audit: answers that guessing reaches this often count as guessed
_BATCH = 8


@dataclass(frozen=True)
class PretextSettings:
    """Which questions of the pretext task are asked, and how their maps are made."""

    places: int = setting(128, "Places of the scan a class is asked at, at most.", ge=1, le=10_000)
    classes: int = setting(10, "Classes that are asked when none is named, at even distances.", ge=1, le=1000)
    check_places: int = setting(8, "Places of the check with random weights.", ge=1, le=1000)
    explain: ExplainSettings = dataclasses.field(default_factory=ExplainSettings)


@dataclass(frozen=True, eq=False)
class PretextEvidence:
    """What a pretext head rests on.

    evidence: float32 in [0, 1] on the scan's grid, mean of the classes' maps, the largest value being 1.
    classes: of each class that was asked, the map of that class alone.
    right: of each class, the share of places at which it was the answer. report: plain JSON values.
    """

    evidence: Volume
    classes: dict[int, Explanation]
    right: dict[int, float]
    report: dict[str, Any]


class PretextNetwork(nn.Module):
    """Encoder and head of a pretext task as a function of its input alone: scores (B, classes).

    objective: has `logits(batch)`. name: of the input in the batch. The layers have the names they have in the
    objective, such as "encoder.blocks.3". Nothing is copied.
    """

    def __init__(self, objective: Any, name: str) -> None:
        super().__init__()
        if not callable(getattr(objective, "logits", None)):
            raise SettingsError(
                f"{type(objective).__name__} gives no scores of classes, so there is nothing to explain"
            )
        for part, module in objective.named_children():
            self.add_module(part, module)
        # In a tuple, where torch does not see it: its parts would have two names. A deep copy keeps them the same.
        self._held, self._name = (objective,), name

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self._held[0].logits({self._name: inputs})
        return scores


def pretext_shown(run: OpenedRun, volume: Volume, label: int, *, places: int = 128) -> tuple[PretextNetwork, Shown]:
    """The network of a run, and what it is shown of a scan when the right answer is `label`.

    The two are what `explain_steps`, `explain_sanity_steps` and the like take. Raises SettingsError for methods of
    slices or without labels and for labels the task does not have, VolumeError for a scan that cannot be worked with.
    """
    answers(run.recipe.task)
    usable, notes = check_volume(volume)
    scan = prepare_volume(usable, grid_of(run.settings), name="scan", group="")
    asked = questions(run.recipe.task, np.asarray(scan.image), label, most=places)
    affine = cell_affine(volume.affine, scan.shape, volume.shape)

    def onto_grid(maps: Tensor, between: Between) -> Steps[FloatArray]:
        return map_onto_grid(asked.placed(maps, scan.shape), affine, volume)

    remarks = (*notes, *_remarks(asked, run))
    shown = Shown(volume, asked.count, asked.inputs, onto_grid, within="encoder", notes=remarks)
    return PretextNetwork(run.recipe.objective, asked.name), shown


def explain_pretext(run: OpenedRun, volume: Volume, **options: Any) -> PretextEvidence:
    """`explain_pretext_steps` run to the end."""
    return finish(explain_pretext_steps(run, volume, **options))


def explain_pretext_steps(
    run: OpenedRun, volume: Volume, *, classes: Sequence[int] | None = None, settings: PretextSettings | None = None
) -> Steps[PretextEvidence]:
    """Where the network of a pretraining run looks in a scan to give the right answers of its task.

    The scan is cut as in training at places all over it, and each class is asked at all of them: a crop is turned by
    90 degrees about z, or cubes are laid in order 17, and the map of the right answer's score is put back where the
    cubes came from. classes: numbers of the labels; None takes evenly spread ones.

    Source: Selvaraju et al. (2017); that a pretext head is asked follows thesis 3 (S19) and paper 002 (S84). Ours: the
    tiling, the mean over overlapping places and over classes. A map of a network that only guesses means nothing; the
    report says how often the answers were right.

    Raises SettingsError and VolumeError as `pretext_shown` does.
    """
    settings = settings or PretextSettings()
    check(settings)
    known = answers(run.recipe.task)
    if settings.explain.method == "occlusion" and not _one_box(run):
        raise SettingsError("occlusion hides parts of one image; explain puzzles of cubes by gradcam or gradcam++")
    chosen = classes_asked(run, classes, settings)
    found: dict[int, Explanation] = {}
    right: dict[int, tuple[int, int]] = {}
    for n, label in enumerate(chosen):
        network, shown = pretext_shown(run, volume, label, places=settings.places)
        right[label] = yield from _right(network, shown, label)
        steps = explain_steps(network, shown, target=label, settings=settings.explain, name=known[label])
        found[label] = yield from reporting(steps, _noting(f"class {n + 1} of {len(chosen)}"))
    data = _mean([e.evidence.data for e in found.values()])
    evidence = Volume(data, volume.affine, native=volume.native, source=volume.source)
    shares = {label: hits / asked for label, (hits, asked) in right.items()}
    return PretextEvidence(evidence, found, shares, _report(run, found, right, len(known), settings))


def classes_asked(run: OpenedRun, classes: Sequence[int] | None, settings: PretextSettings) -> list[int]:
    """These classes, or evenly spread ones of all the task has. Raises SettingsError for those it does not have."""
    known = len(answers(run.recipe.task))
    wrong = [c for c in classes or () if not 0 <= c < known]
    if wrong or (classes is not None and not len(classes)):
        raise SettingsError(f"class {wrong or 'none'} was asked for; this task has classes 0 to {known - 1}")
    if classes is not None:
        return list(dict.fromkeys(int(c) for c in classes))
    return [int(i) for i in np.linspace(0, known - 1, min(settings.classes, known)).round()]


def check_pretext_steps(
    run: OpenedRun, volume: Volume, label: int, *, settings: PretextSettings | None = None, seed: int = 0
) -> Steps[Sanity]:
    """How alike the maps of one class stay while the network's parts are randomised, as `explain_sanity_steps`."""
    settings = settings or PretextSettings()
    network, shown = pretext_shown(run, volume, label, places=settings.check_places)
    return (yield from explain_sanity_steps(network, shown, target=label, settings=settings.explain, seed=seed))


def _remarks(asked: Questions, run: OpenedRun) -> list[str]:
    crop = run.settings.crop
    if tuple(asked.size) == tuple(crop):
        return []
    return [f"the scan is smaller than what the task cuts: boxes of {asked.size} voxels were enlarged to {crop}"]


def _one_box(run: OpenedRun) -> bool:
    return isinstance(run.recipe.task, Turns)


def _noting(note: str) -> Callable[[Progress], Progress]:
    return lambda progress: dataclasses.replace(progress, note=note)


def _right(network: PretextNetwork, shown: Shown, label: int) -> Steps[tuple[int, int]]:
    """At how many places `label` is the network's answer, and of how many."""
    device, hits = device_of(network), 0
    for first in range(0, shown.count, _BATCH):
        yield Progress(first, shown.count, "asking")
        items = range(first, min(first + _BATCH, shown.count))
        with looking(network), torch.inference_mode():
            hits += int((network(shown.inputs(items).to(device)).argmax(1) == label).sum())
    return hits, shown.count


def _mean(maps: Sequence[FloatArray]) -> FloatArray:
    """Mean map, the largest value being 1."""
    data = np.zeros(maps[0].shape, np.float32)
    for one in maps:
        data += one
    data /= max(float(data.max()), 1e-12)
    return data


def _report(
    run: OpenedRun, found: dict[int, Explanation], right: dict[int, tuple[int, int]], known: int,
    settings: PretextSettings,
) -> dict[str, Any]:  # fmt: skip
    first = next(iter(found.values())).report
    hits, asked = (sum(values) for values in zip(*right.values(), strict=True))
    notes = list(dict.fromkeys(n for e in found.values() for n in e.report["notes"]))
    solved = bool(stats.binom.sf(hits - 1, asked, 1 / known) < _DOUBT)
    if not solved:
        notes.append(f"{hits} of {asked} answers are right, no more than by guessing: the maps mean nothing")
    classes = {
        str(c): {"name": e.report["class"]["name"], "right": right[c][0] / right[c][1],
                 "strongest": e.report["strongest"], "peak": e.report["peak"]}
        for c, e in found.items()
    }  # fmt: skip
    return {
        "method": run.method.name, "run": run.path.absolute().parent.name, "run_sha256": run.sha256,
        "steps": run.step, "layer": first["layer"], "cells": first["cells"], "settings": to_dict(settings),
        "classes": classes, "right": hits / asked, "chance": 1 / known, "solved": solved, "questions": asked,
        "notes": notes, "source": first["source"], "device": first["device"],
        "seconds": round(sum(e.report["seconds"] for e in found.values()), 3),
    }  # fmt: skip
