"""Two processes on one machine train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from napari_medssl.models.bundle import load_bundle
from napari_medssl.train.curves import read_curves

_ROOT = Path(__file__).parents[2]


def start(*command: str) -> None:
    surroundings = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=_ROOT, env=surroundings, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of PyTorch has no torch.distributed")
def test_two_processes_follow_one_on_the_joined_batch(tmp_path: Path) -> None:
    start("tests.train.run_toy", str(tmp_path / "one"))
    # A rendezvous on a port the system chooses: fixed ports collide.
    torchrun = ("torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")
    start(*torchrun, "-m", "tests.train.run_toy", str(tmp_path / "two"))
    one, two = (load_bundle(tmp_path / n / "encoder.safetensors") for n in ("one", "two"))
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    assert two.card["run"]["processes"] == 2
    losses = [[v["loss"] for v in read_curves(tmp_path / n / "log.csv").values()] for n in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
