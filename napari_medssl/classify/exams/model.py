"""A trained exam classifier: a network per plane, and how their answers become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.classify.calibrate import Calibrator
from napari_medssl.classify.exams.features import FeatureStore
from napari_medssl.classify.exams.inference import judge_scan
from napari_medssl.classify.exams.network import EncoderSource
from napari_medssl.classify.exams.scans import PlaneScans
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.exams.voting import vote
from napari_medssl.classify.table import LabelKind
from napari_medssl.errors import SettingsError
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Progress, Steps

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ExamScore:
    """What is said of one exam.

    probability: (L,) of each label, calibrated. spread: (L,) standard deviation over the draws of slices; 0 where all
    slices were seen. answer: (L,) 0 or 1. planes: of each plane there was, its (L,) mean probability and spread, as the
    network says it. weights: (L,) of each of these planes, with the sum 1.
    """

    probability: FloatArray
    spread: FloatArray
    answer: npt.NDArray[np.int64]
    planes: dict[str, tuple[FloatArray, FloatArray]]
    weights: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class ExamModel:
    """Networks by plane and what the tuning exams taught about them.

    accuracy, votes: (P, L) in the order of `networks`: accuracy at one half (of several classes, of the most likely
    one), and the weights made of it. thresholds: (L,) from which on the answer is yes. calibration: of the voted
    probabilities. card: what a user must know, plain JSON values.
    """

    settings: ExamSettings
    kind: LabelKind
    labels: tuple[str, ...]
    source: EncoderSource
    networks: dict[str, ExamNetwork]
    accuracy: FloatArray
    votes: FloatArray
    thresholds: FloatArray
    calibration: Calibrator
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes it knows."""
        return tuple(self.networks)

    def score_steps(
        self, scans: Mapping[str, Scan], *, device: torch.device, stores: Mapping[str, FeatureStore] | None = None
    ) -> Steps[ExamScore]:
        """The score of one exam. scans: by plane, framed to `source.size`; planes may be missing, but not all. stores:
        features of frozen encoders by plane.

        Raises SettingsError when no plane of the exam is one the classifier knows.
        """
        known = [p for p in self.planes if p in scans]
        if not known:
            raise SettingsError(
                f"the exam has {_listed(scans)}, and the classifier knows {_listed(self.planes)}; "
                "say which plane a scan is"
            )
        drawn = {}
        for plane in known:
            drawn[plane] = yield from judge_scan(
                self.networks[plane].to(device), scans[plane], self.settings, kind=self.kind,
                channels=self.source.in_slices, device=device, store=(stores or {}).get(plane),
            )  # fmt: skip
        return self._score(drawn)

    def _score(self, drawn: dict[str, FloatArray]) -> ExamScore:
        count = max(len(d) for d in drawn.values())
        table = np.full((len(self.planes), count, len(self.labels)), np.nan)
        for row, plane in enumerate(self.planes):
            if plane in drawn:  # a plane whose slices are all seen says the same in every draw
                table[row] = drawn[plane] if len(drawn[plane]) == count else drawn[plane].mean(0)
        each = self.calibration(vote(table, self.votes))  # (draws, L)
        probability = self.calibration(vote(table.mean(1, keepdims=True), self.votes))[0]
        planes = {p: (d.mean(0), d.std(0)) for p, d in drawn.items()}
        rows = [self.planes.index(p) for p in drawn]
        weights = _shares(self.votes[rows])
        return ExamScore(
            probability, each.std(0), self.answers(probability[None])[0], planes,
            {p: weights[n] for n, p in enumerate(drawn)},
        )  # fmt: skip

    def answers(self, probability: FloatArray) -> npt.NDArray[np.int64]:
        """(N, L) 0 or 1: the most likely class, or each label from its threshold on."""
        if self.kind == "one":
            return np.asarray(np.eye(len(self.labels), dtype=np.int64)[probability.argmax(1)])
        return np.asarray(probability >= self.thresholds, np.int64)


def score_all(
    model: ExamModel, scans: Mapping[str, PlaneScans], numbers: npt.NDArray[np.intp], *, device: torch.device,
    stores: Mapping[str, FeatureStore] | None = None,
) -> Steps[list[ExamScore]]:  # fmt: skip
    """The scores of the exams with these numbers."""
    found = []
    for done, n in enumerate(numbers):
        yield Progress(done, len(numbers), "judging exams")
        mine = {plane: scan for plane, all_scans in scans.items() if (scan := all_scans[int(n)]) is not None}
        found.append((yield from model.score_steps(mine, device=device, stores=stores)))
    return found


def _shares(votes: FloatArray) -> FloatArray:
    total = votes.sum(0)
    return np.asarray(np.divide(votes, total, out=np.full_like(votes, 1 / len(votes)), where=total > 0))


def _listed(names: Any) -> str:
    shown = [name or "scans without a plane" for name in names]
    return " and ".join(shown) if shown else "no scan"
