"""The sequences of learning rates, and the writer of events."""

from __future__ import annotations

import math
import sys
import types

import pytest
import torch
from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.train.events import open_events
from napari_medssl.train.optimisers import BENCHMARK_3D, BENCHMARK_3D_GENESIS, COWPRO, THESIS_JIGSAW, THESIS_SMALL
from napari_medssl.train.run_settings import OptimSettings
from napari_medssl.train.schedules import plateaus, rate


def test_thesis_jigsaw_falls_by_a_twentieth_every_epoch() -> None:
    found = [rate(THESIS_JIGSAW, share=e / 50, epoch=e) for e in range(50)]
    assert found == pytest.approx([1e-4 * 0.95**e for e in range(50)])


def test_cowpro_falls_every_thousand_episodes() -> None:
    found = [rate(COWPRO, share=s / 100_000, epoch=s // 1000) for s in (0, 999, 1000, 99_999)]
    assert found == pytest.approx([1e-3, 1e-3, 0.95e-3, 1e-3 * 0.95**99])


def test_cosine_as_torch_has_it() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.06)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 40)
    for step in range(40):
        assert rate(THESIS_SMALL, share=step / 40, epoch=0) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        torchs.step()
    assert rate(THESIS_SMALL, share=1.0, epoch=0) == 0.0


def test_benchmark_falls_to_a_tenth_at_epoch_250() -> None:
    found = [rate(BENCHMARK_3D, share=e / 400, epoch=e) for e in (0, 249, 250, 399)]
    assert found == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_warmup_rises_to_the_highest_rate_and_the_cosine_takes_the_rest() -> None:
    settings = OptimSettings(learning_rate=2.0, schedule="cosine", warmup=0.2)
    found = [rate(settings, share=s, epoch=0) for s in (0, 0.1, 0.2, 0.6, 1.0)]
    assert found == pytest.approx([0.0, 1.0, 2.0, 1.0, 0.0])


def test_one_cycle() -> None:
    settings = OptimSettings(learning_rate=1.0, schedule="one-cycle")
    found = [rate(settings, share=s, epoch=0) for s in (0, 0.025, 0.05, 0.525, 1.0, 1.7)]
    assert found == pytest.approx([0.05, 0.525, 1.0, 0.505, 0.01, 0.01])
    slow = OptimSettings(learning_rate=1.0, schedule="one-cycle", warmup=0.5)
    assert rate(slow, share=0.5, epoch=0) == pytest.approx(1.0)


def test_constant() -> None:
    assert rate(OptimSettings(learning_rate=0.3, schedule="constant"), share=0.9, epoch=70) == 0.3


def test_plateau_halves_after_ten_epochs_without_gain() -> None:
    falling = [1.0 / (e + 1) for e in range(30)]
    stuck = [*falling, *([falling[-1]] * 25)]
    found = [rate(BENCHMARK_3D_GENESIS, share=0.5, epoch=e, losses=stuck[:e]) for e in (0, 30, 39, 40, 49, 50, 55)]
    assert found == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25])


def test_plateau_as_torch_has_it() -> None:
    losses = (0.5 ** torch.arange(12.0) + 0.2 * torch.rand(12, generator=torch.Generator().manual_seed(0))).repeat(4)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    # Torch waits until there are more than `patience` bad epochs, this until there are as many.
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=3, threshold=1e-4)
    for epoch, loss in enumerate(losses.tolist()):
        torchs.step(loss)
        expected = optimiser.param_groups[0]["lr"]
        assert 0.5 ** plateaus(losses[: epoch + 1].tolist(), 4) == pytest.approx(expected)


def test_plateau_of_losses_below_zero_and_not_numbers() -> None:
    assert plateaus([-1.0, -1.5, -2.0, -2.5], 1) == 0
    assert plateaus([-1.0, -0.5, -0.7], 2) == 1
    assert plateaus([math.nan, math.nan, 1.0, math.nan], 2) == 1
    assert plateaus([], 1) == 0


class _Writer:
    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.seen: list[tuple[str, float, int]] = []
        self.closed = False

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.seen.append((name, value, step))

    def close(self) -> None:
        self.closed = True


def test_events_hide_what_a_resumed_run_does_again(monkeypatch, tmp_path) -> None:
    made: list[_Writer] = []
    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = lambda *a, **k: made.append(_Writer(*a, **k)) or made[-1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    events = open_events(tmp_path, step=20)
    events.add(21, {"loss": 1.5, "learning_rate": 0.1})
    events.close()
    assert made[0].purge_step == 21
    assert made[0].folder == str(tmp_path)
    assert made[0].seen == [("loss", 1.5, 21), ("learning_rate", 0.1, 21)]
    assert made[0].closed
    open_events(tmp_path)
    assert made[1].purge_step is None


def test_events_without_the_package(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(SettingsError, match="needs the package tensorboard"):
        open_events(tmp_path)


def test_events_are_read_back_by_tensorboard(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = open_events(tmp_path)
    events.add(3, {"loss": 2.5})
    events.close()
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(3, 2.5)]
