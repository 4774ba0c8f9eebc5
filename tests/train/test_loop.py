"""The training loop: learning, logging, saving, resuming, stopping."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.errors import WeightsError
from napari_medssl.progress import Steps, finish
from napari_medssl.train import loop
from napari_medssl.train.loop import DivergedError, LoopSettings, train_loop

SETTINGS = LoopSettings(iterations=40, learning_rate=0.02, weight_decay=1e-4)


class Run:
    """A small regression with random batches from both generators, and dropout-free so that it is exact."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.rng, self.noise = np.random.default_rng(7), torch.Generator().manual_seed(7)

    def draw_loss(self) -> Tensor:
        x = torch.tensor(self.rng.normal(size=(16, 3)), dtype=torch.float32)
        y = x.sum(1, keepdim=True) + 0.01 * torch.randn(16, 1, generator=self.noise)
        return (self.model(x) - y).square().mean()

    def steps(
        self, out: Path, settings: LoopSettings = SETTINGS, draw: Callable[[], Tensor] | None = None
    ) -> Steps[dict[str, Any]]:
        return train_loop(self.model, draw or self.draw_loss, out, settings, rng=self.rng, noise=self.noise)

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_REPORT_EVERY", 5)
    monkeypatch.setattr(loop, "_SAVE_EVERY", 10)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as f:
        return list(csv.DictReader(f))


def test_the_loss_falls_and_every_report_is_logged(tmp_path: Path) -> None:
    run, reports = Run(), []
    facts = finish(run.steps(tmp_path), reports.append)
    log = rows(tmp_path)
    assert [int(r["step"]) for r in log] == list(range(5, 45, 5)) == [p.done for p in reports]
    assert float(log[-1]["loss"]) < 0.3 * float(log[0]["loss"])
    assert facts["iterations"] == 40
    assert facts["loss"] == pytest.approx(float(log[-1]["loss"]), abs=1e-5)
    assert not run.model.training


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken, resumed = Run(), Run(), Run()
    finish(whole.steps(tmp_path / "whole"))
    steps = broken.steps(tmp_path / "broken")
    while next(steps).done < 25:
        pass
    steps.close()  # steps 21 to 25 are lost: the last state is that of step 20
    facts = finish(resumed.steps(tmp_path / "broken"))
    for a, b in zip(resumed.weights(), whole.weights(), strict=True):
        assert torch.equal(a, b)
    assert resumed.rng.bit_generator.state == whole.rng.bit_generator.state
    assert torch.equal(resumed.noise.get_state(), whole.noise.get_state())
    assert facts["iterations"] == 40


def test_the_log_of_a_resumed_run_reads_like_that_of_a_whole_one(tmp_path: Path) -> None:
    finish(Run().steps(tmp_path / "whole"))
    steps = Run().steps(tmp_path / "broken")
    while next(steps).done < 25:
        pass
    steps.close()
    finish(Run().steps(tmp_path / "broken"))
    told = [[(r["step"], r["loss"], r["learning_rate"]) for r in rows(tmp_path / n)] for n in ("whole", "broken")]
    assert told[0] == told[1]


def test_a_run_stopped_at_the_report_of_a_saved_step_keeps_that_step(tmp_path: Path) -> None:
    steps = Run().steps(tmp_path)
    while next(steps).done < 10:
        pass
    steps.close()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 10


def test_a_finished_run_is_not_trained_again_and_still_tells_its_loss(tmp_path: Path) -> None:
    first = Run()
    facts = finish(first.steps(tmp_path))
    again, reports = Run(), []
    told = finish(again.steps(tmp_path), reports.append)
    assert reports == []
    assert told["loss"] == pytest.approx(facts["loss"], abs=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(again.weights(), first.weights(), strict=True))


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_are_touched(tmp_path: Path) -> None:
    run, calls = Run(), itertools.count()

    def draw() -> Tensor:
        loss = run.draw_loss()
        return loss * float("nan") if next(calls) == 13 else loss

    with pytest.raises(DivergedError, match=r"the loss became nan at step 13; lower the learning rate"):
        finish(run.steps(tmp_path, draw=draw))
    assert all(p.isfinite().all() for p in run.model.parameters())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 10


def test_a_gradient_that_is_no_number_stops_the_run_too(tmp_path: Path) -> None:
    run, calls = Run(), itertools.count()

    def draw() -> Tensor:
        first = next(run.model.parameters())
        # The root of zero: a finite loss with an infinite slope.
        return run.draw_loss() + (0 * first.sum().abs().sqrt() if next(calls) != 3 else (first - first).sum().sqrt())

    with pytest.raises(DivergedError, match=r"the gradient became (nan|inf) at step 3"):
        finish(run.steps(tmp_path, draw=draw))
    assert all(p.isfinite().all() for p in run.model.parameters())


def test_the_learning_rate_warms_up_peaks_and_cools_down() -> None:
    rates = [loop._rate(1.0, share) for share in np.linspace(0, 1, 201)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == pytest.approx(1.0) == rates[10]  # at 5 %
    assert rates[-1] == pytest.approx(0.01)
    assert np.argmax(rates) == 10
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_run_out_of_time_stops_cools_down_and_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(now)))  # every look at the clock takes a second
    run = Run()
    facts = finish(run.steps(tmp_path, LoopSettings(10_000, 0.02, 0.0, max_minutes=1.0)))
    assert 10 < facts["iterations"] < 60
    assert facts["loss"] is not None
    assert int(rows(tmp_path)[-1]["step"]) == facts["iterations"]
    assert float(rows(tmp_path)[-1]["learning_rate"]) < 0.001
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == facts["iterations"]


@pytest.mark.parametrize("damage", [b"", b"not a state", "truncated", "foreign", "older"])
def test_a_state_that_cannot_be_resumed_is_told_and_kept(tmp_path: Path, damage: bytes | str) -> None:
    finish(Run().steps(tmp_path, LoopSettings(10, 0.02, 0.0)))
    path = tmp_path / "state.pt"
    whole = path.read_bytes()
    if damage == "foreign":
        torch.save({"model": nn.Linear(2, 2).state_dict()}, path)
    elif damage == "older":
        torch.save({k: v for k, v in torch.load(path, weights_only=True).items() if k != "rng"}, path)
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else bytes(damage))  # type: ignore[arg-type]
    bad = path.read_bytes()
    with pytest.raises(WeightsError, match=r"cannot resume from .*state\.pt: .*remove the file to start anew"):
        finish(Run().steps(tmp_path))
    assert path.read_bytes() == bad


def test_gradients_are_clipped(tmp_path: Path) -> None:
    run = Run()
    before = run.weights()
    finish(run.steps(tmp_path, LoopSettings(1, 1e-3, 0.0), draw=lambda: 1e6 * run.draw_loss()))
    assert all((a - b).abs().max() < 1e-2 for a, b in zip(run.weights(), before, strict=True))
    norm = torch.sqrt(sum((p.grad**2).sum() for p in run.model.parameters() if p.grad is not None))  # type: ignore[arg-type]
    assert float(norm) == pytest.approx(1.0, abs=1e-4)
