"""What was learned from marked slices, ready to score other scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from napari_medssl.classify.slices.bags import BagScorer
from napari_medssl.classify.slices.calibration import Calibration
from napari_medssl.classify.slices.linear import LinearScorer
from napari_medssl.classify.slices.marks import FloatArray, Kind
from napari_medssl.classify.slices.neighbours import NeighbourScorer
from napari_medssl.classify.slices.profile import HeightProfile
from napari_medssl.classify.slices.scores import SliceScores
from napari_medssl.classify.slices.settings import HeadKind
from napari_medssl.classify.slices.space import Space
from napari_medssl.classify.slices.vectors import EncoderFacts, SliceVectors

Scorer: TypeAlias = LinearScorer | NeighbourScorer | BagScorer


@dataclass(frozen=True, eq=False)
class SliceHead:
    """A head on frozen features.

    name: which kind of head. classes: columns of its scores, those that could be learned. kind: whether a slice shows
    several of them or one. space: what its points are. scorer: from points to logits. calibration: from logits to
    probabilities. thresholds: (C,) from which a class counts as found. notes: what could not be learned, as sentences.
    card: facts about the learning, plain JSON. profile: what the height of a slice adds to its logits, for heads that
    learn from slices; None where position shall not count.
    """

    name: HeadKind
    classes: tuple[str, ...]
    kind: Kind
    space: Space
    scorer: Scorer
    calibration: Calibration
    thresholds: FloatArray
    notes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    profile: HeightProfile | None = None

    @property
    def encoder(self) -> EncoderFacts:
        """Whose features it reads."""
        return self.space.encoder

    @property
    def threshold_of(self) -> dict[str, float]:
        """Class to threshold, as `findings` takes them."""
        return {name: float(t) for name, t in zip(self.classes, self.thresholds, strict=True)}

    def by_height(self, vectors: SliceVectors) -> FloatArray:
        """(M, Z, C) logits that the height of the slices adds, before calibration."""
        heights = self.space.heights(vectors)
        if self.profile is None or heights is None:
            return np.zeros((1, len(vectors), len(self.classes)), np.float32)
        return self.profile.logits(heights)

    def scores(self, vectors: SliceVectors) -> SliceScores:
        """Scores of every slice of a scan, and of the scan as a whole.

        The head itself gives the probabilities, its ensemble the spread; networks that learn from exams have no best
        member, so theirs is the mean. The exam shows a class as much as the slice that shows it most, or as an exam
        head says. Under attention a slice counts by its own score times its share of the attention, relative to the
        slice with the most: what is not looked at says nothing. Ours.

        Raises WeightsError when the vectors come from another encoder.
        """
        points = self.space.points(vectors)
        members = self.calibration.probability(self.scorer.logits(points) + self.by_height(vectors), self.kind)
        spread = members[1:].std(0) if len(members) > 1 else np.zeros_like(members[0])
        if not isinstance(self.scorer, BagScorer):
            return SliceScores(self.classes, members[0], spread, members[0].max(0))
        exam = self.calibration.probability(self.scorer.exam_logits(points), self.kind).mean(0)
        shares = self.scorer.attention(points)
        if shares is None:
            return SliceScores(self.classes, members.mean(0), spread, exam)
        looked = shares / shares.max(1, keepdims=True)
        return SliceScores(self.classes, (looked * members).mean(0), (looked * members).std(0), exam, shares.mean(0))
