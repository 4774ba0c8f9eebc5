"""`medssl classify`: labels of slices and of whole exams."""

from __future__ import annotations

import argparse

from napari_medssl.cli import classify_evaluate, classify_explain, classify_predict, classify_slices, classify_train
from napari_medssl.cli.parts import add_parts, run_part

_PARTS = {
    "train": classify_train, "predict": classify_predict, "evaluate": classify_evaluate, "slices": classify_slices,
    "explain": classify_explain,
}  # fmt: skip
"""Part to the module that does it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of each part."""
    add_parts(parser, "classify", _PARTS)


run = run_part
