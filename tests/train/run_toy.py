"""Train the toy method into a folder; started alone or by torchrun."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from napari_medssl.progress import finish
from napari_medssl.train import distributed
from napari_medssl.train.trainer import train_on
from tests.train.toy import ToySettings, toy_method, toy_scans


def main(out: Path) -> None:
    """Without dropout, whose draws differ between processes."""
    torch.set_num_threads(1)
    method = toy_method()

    def build(settings: ToySettings) -> Any:
        recipe = method.build(settings)
        recipe.objective.encoder.layers[3].p = 0.0
        return recipe

    device = distributed.init_from_environment("cpu")
    try:
        finish(train_on(toy_scans(), out, dataclasses.replace(method, build=build), ToySettings(), device=device))
    finally:
        distributed.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
