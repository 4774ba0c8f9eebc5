"""A saved run gives back its task, its heads and its settings; anything else is refused in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.errors import WeightsError
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.train.method import find_method
from napari_medssl.train.opened_run import open_run
from napari_medssl.train.trainer import train_on


def scan(n: int) -> Scan:
    image = np.random.default_rng(n).integers(60, 255, (20, 20, 20), np.uint8)
    return Scan(image, None, (2.0, 2.0, 2.0), f"s{n}.nii.gz", "toy", f"p{n}")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    method = find_method("rot3d")
    small = replace(method.small, crop_z=16, crop_y=16, crop_x=16, width=0.05)
    settings = replace(small, run=replace(small.run, steps=2, batch=2, validation_share=0.0, monitor_every=0))
    finish(train_on([scan(0), scan(1)], folder, method, settings))
    return folder


def test_a_run_is_opened_with_its_head(run_folder: Path) -> None:
    run = open_run(run_folder)
    assert (run.method.name, run.step, run.settings.crop_z, run.settings.run.batch) == ("rot3d", 2, 16, 2)
    assert run.path == run_folder / "state.safetensors"
    objective = run.recipe.objective
    assert not objective.training
    assert not any(p.requires_grad for p in objective.parameters())
    rng = np.random.default_rng(0)
    example = run.recipe.task.draw([scan(0)], rng)
    batch = run.recipe.task.prepare({k: v[None] for k, v in example.items()})
    with torch.no_grad():
        logits = objective.logits(batch)
    assert logits.shape == (1, 10)
    again = open_run(run_folder / "state.safetensors").recipe.objective
    with torch.no_grad():
        torch.testing.assert_close(again.logits(batch), logits)
    from safetensors.torch import load_file

    stored = load_file(run_folder / "encoder3d.safetensors")
    torch.testing.assert_close(
        objective.encoder.state_dict()["blocks.0.0.weight"], stored["encoder3d.blocks.0.0.weight"]
    )


def test_what_is_no_run_is_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="give the folder that medssl pretrain wrote: the weights file beside it"):
        open_run(tmp_path)
    with pytest.raises(WeightsError, match=r"no state of a run at .*nothing"):
        open_run(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="not the state of a run"):
        open_run(run_folder / "encoder3d.safetensors")
    (tmp_path / "state.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="cannot"):
        open_run(tmp_path)


def test_a_run_of_an_unknown_method_is_refused(run_folder: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(run_folder / "state.safetensors", "pt") as f:
        meta = dict(f.metadata())
    meta["run"] = meta["run"].replace('"rot3d"', '"rot4d"')
    save_file(load_file(run_folder / "state.safetensors"), tmp_path / "state.safetensors", meta)
    with pytest.raises(WeightsError, match="another version of napari-medssl: .*rot4d"):
        open_run(tmp_path)
