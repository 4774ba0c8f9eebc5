"""Which slices of a scan show what, learned from a few marked ones."""

from __future__ import annotations

from napari_medssl.classify.slices.findings import Finding, findings
from napari_medssl.classify.slices.head import SliceHead
from napari_medssl.classify.slices.learn import learn_slices, learn_slices_steps
from napari_medssl.classify.slices.marks import SliceMarks, one_class, several_classes
from napari_medssl.classify.slices.ranges import slice_range_from_scores
from napari_medssl.classify.slices.scores import SliceScores
from napari_medssl.classify.slices.settings import LearnSettings
from napari_medssl.classify.slices.vectors import EncoderFacts, SliceVectors, slice_vectors_steps

__all__ = [
    "EncoderFacts",
    "Finding",
    "LearnSettings",
    "SliceHead",
    "SliceMarks",
    "SliceScores",
    "SliceVectors",
    "findings",
    "learn_slices",
    "learn_slices_steps",
    "one_class",
    "several_classes",
    "slice_range_from_scores",
    "slice_vectors_steps",
]
