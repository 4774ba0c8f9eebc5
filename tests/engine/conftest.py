"""Small weights and scans for the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.engine import Engine
from napari_medssl.models.bundle import Bundle, save_bundle
from napari_medssl.models.slice_encoder import SliceResNet
from napari_medssl.oneshot import Support
from napari_medssl.volume import Volume

AFFINE = np.array([[0, 0, -1.5, 8.0], [0, -1.5, 0, 6.0], [3.0, 0, 0, -9.0], [0, 0, 0, 1]])


def write_weights(path: Path, *, seed: int = 0, scale: float = 1.0) -> Path:
    """A bundle with a tiny untrained encoder whose output is `scale` times the usual."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = SliceResNet(width=8, channels=16, input_size=32)
    with torch.no_grad():
        encoder.out.weight *= scale
    tensors = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    modules = {"encoder": {"name": "slice-resnet", "config": encoder.config}}
    save_bundle(path, Bundle(modules, tensors, {"licence": "CC0-1.0", "data": "none"}))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A weights file of a tiny encoder: 32 x 32 input, stride 4, 16 channels, three slices."""
    return write_weights(tmp_path / "tiny.safetensors")


@pytest.fixture
def engine(weights: Path) -> Iterator[Engine]:
    """An engine on the CPU with the tiny encoder, closed afterwards."""
    with Engine("cpu", weights) as made:
        yield made


def scan(seed: int = 0, depth: int = 10) -> Volume:
    """A noisy (depth, 24, 28) scan with a bright ball of radius 6 in the middle."""
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 10, (depth, 24, 28)).astype(np.float32)
    data[ball(depth)] += 120
    return Volume(data, AFFINE, "MR")


def ball(depth: int = 10) -> np.ndarray:
    """Bool mask of the ball."""
    z, y, x = np.ogrid[:depth, :24, :28]
    return ((z - depth / 2) * 2) ** 2 + (y - 12) ** 2 + (x - 14) ** 2 <= 36


def support_of(volume: Volume, *slices: int) -> Support:
    """The ball as organ 1, labelled on some slices."""
    mask = np.zeros(volume.shape, np.uint8)
    for z in slices:
        mask[z] = ball(volume.shape[0])[z]
    return Support(volume, mask)


class Counter:
    """Counts the slices that reach a module, and how often it was called."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.slices = self.calls = 0
        self._handle = module.register_forward_pre_hook(self._seen)

    def _seen(self, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.slices += len(arguments[0])
        self.calls += 1

    def remove(self) -> None:
        self._handle.remove()


@pytest.fixture
def counter(engine: Engine) -> Iterator[Counter]:
    """What the engine's encoder is asked to do."""
    made = Counter(engine.encoder)
    yield made
    made.remove()
