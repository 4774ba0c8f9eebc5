"""Advice on which self-supervised method to use and how, drawn from four documents, with strength and source.

Loads no PyTorch: rules are data, and answering is a matter of milliseconds.
"""

from __future__ import annotations

from napari_medssl.guidance.conflicts import CONFLICTS
from napari_medssl.guidance.cost import annotation_cost
from napari_medssl.guidance.flowcharts import CHARTS, walk, walk_all
from napari_medssl.guidance.linter import Facts, Finding, advise, lint
from napari_medssl.guidance.methods import METHODS
from napari_medssl.guidance.notice import NOTICE
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.recommend import Recommendation, as_dict, recommend
from napari_medssl.guidance.rules import RULES, find_rule, fired
from napari_medssl.guidance.taxonomy import SYSTEMS

__all__ = [
    "CHARTS",
    "CONFLICTS",
    "METHODS",
    "NOTICE",
    "RULES",
    "SYSTEMS",
    "Facts",
    "Finding",
    "Question",
    "Recommendation",
    "advise",
    "annotation_cost",
    "as_dict",
    "find_rule",
    "fired",
    "lint",
    "recommend",
    "walk",
    "walk_all",
]
