"""`medssl inspect`: what pretraining has left in an encoder of volumes, without any label."""

from __future__ import annotations

import argparse

from napari_medssl.cli import (
    inspect_cka,
    inspect_gradcam,
    inspect_shortcuts,
    inspect_statistics,
    inspect_transfer,
)
from napari_medssl.cli.parts import add_parts, run_part

_PARTS = {
    "cka": inspect_cka, "statistics": inspect_statistics, "transfer": inspect_transfer, "gradcam": inspect_gradcam,
    "shortcuts": inspect_shortcuts,
}  # fmt: skip
"""Part to the module that does it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of each part."""
    add_parts(parser, "inspect", _PARTS)


run = run_part
