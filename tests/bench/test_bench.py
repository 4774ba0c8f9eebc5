"""Measurements are judged by their goals, and taken of what they say."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from napari_medssl import bench
from napari_medssl.bench import BenchSettings, Measurement, bench_steps, child
from napari_medssl.bench.correcting import correction_steps, edge_stroke
from napari_medssl.bench.encoding import encoding_steps
from napari_medssl.bench.memory import BenchError, memory_steps, run_steps
from napari_medssl.bench.pretraining import pretraining_steps
from napari_medssl.bench.rival import walker_steps
from napari_medssl.bench.segmenting import phantom_task, warm_steps
from napari_medssl.cli import main
from napari_medssl.engine import Engine
from napari_medssl.errors import SupportError
from napari_medssl.progress import finish


@pytest.mark.parametrize(
    ("value", "goal", "better", "met"),
    [(0.9, 0.85, "higher", True), (0.8, 0.85, "higher", False), (0.1, 0.1, "lower", True), (2, 1, "lower", False)],
)
def test_a_goal_is_met_on_its_side(value, goal, better, met):
    assert Measurement("x", value, "s", goal, better).met is met
    assert Measurement("x", value, "s").met is None


@pytest.fixture(scope="module")
def engine():
    with Engine(device="cpu", weights="none") as made:
        yield made


def test_the_engine_is_compared_with_the_same_encoder_and_slices(engine, monkeypatch):
    """With an encoder that only waits, both sides wait for as many batches, so the ratio is close to one."""

    class Waiting(torch.nn.Module):
        in_slices, channels, stride, input_size, config = 1, 2, 8, 64, {}
        calls = 0

        def forward(self, x):
            Waiting.calls += 1
            time.sleep(0.1)
            return torch.zeros(len(x), 2, 8, 8)

    task = phantom_task(10, "liver", across=False, side=64)
    monkeypatch.setattr(engine, "_models", dataclasses.replace(engine.models, encoder=Waiting(), sha256="waiting"))
    row = finish(encoding_steps(engine, task.query, repeats=1))
    batches = -(-10 // engine.policy.batch_size)
    assert Waiting.calls >= 1 + 2 * batches  # a warm-up, the bare loop and the engine
    assert 0.2 < row.value <= 1.1


def test_the_second_run_does_not_encode(engine):
    within, across = (phantom_task(6, "liver", across=a, side=64) for a in (False, True))
    before = engine.cache.statistics
    rows = finish(warm_steps(engine, within, across, repeats=2))
    after = engine.cache.statistics
    assert after.misses - before.misses == 3, "the prototypes' query, and query and support between scans"
    assert after.hits > before.hits
    assert [r.unit for r in rows] == ["", "s", "", "s", "", "s", "s"]
    assert all(r.value > 0 for r in rows)


def test_the_walker_gets_the_same_labels_and_ours_starts_anew(engine, monkeypatch):
    within = phantom_task(6, "liver", across=False, side=64)
    asked, kept = {}, []

    def walk(name, seen, slices):
        asked.update(name=name, shape=seen.image.shape, slices=slices)
        time.sleep(0.3)

    def segment(query, supports):
        kept.append((engine.cache.statistics.nbytes, query is within.query, supports is within.supports))
        time.sleep(0.15)

    engine.features(within.query)
    monkeypatch.setattr("napari_medssl.bench.rival.segment_by", walk)
    monkeypatch.setattr(engine, "segment", segment)
    row = finish(walker_steps(engine, within, repeats=2))
    assert kept == [(0, True, True)] * 2
    assert asked["name"] == "random-walker-full"
    assert asked["shape"] == within.query.shape
    (z,) = within.supports[0].slices
    assert asked["slices"][z].sum() == within.supports[0].mask[z].sum()
    assert row.value == pytest.approx(0.5, abs=0.3)
    assert (row.goal, row.better) == (1.0, "lower")


def test_a_correction_is_a_stroke_over_an_edge_away_from_the_label(engine):
    within = phantom_task(8, "liver", across=False, side=64)
    row = finish(correction_steps(engine, within, repeats=1))
    assert (row.unit, row.goal) == ("s", 1.0)
    assert row.value > 0
    organ = np.zeros((9, 30, 30), bool)
    organ[1:8, 8:22, 8:22] = True
    stroke = edge_stroke(organ, 2)
    assert set(stroke.at[:, 0]) == {4}, "between the label and the far end, 7"
    inside = organ[stroke.index]
    assert inside.any()
    assert not inside.all()
    assert not stroke.values.any()
    with pytest.raises(SupportError, match="nothing was found"):
        edge_stroke(organ & (np.arange(9) == 2)[:, None, None], 2)


def test_the_support_of_a_task_is_one_slice_or_three_of_another_patient():
    within, across = (phantom_task(10, "liver", across=a, side=64) for a in (False, True))
    assert len(within.supports[0].slices) == 1
    assert within.supports[0].volume is within.query
    assert len(across.supports[0].slices) == 3
    assert across.supports[0].volume.content_hash != across.query.content_hash


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_peak_memory_is_that_of_the_work():
    code = (
        "import numpy as np; from napari_medssl.bench.child import *\n"
        "big = np.ones(40_000_000, np.uint8); del big\n"
        "base = resident_bytes(); reset_peak(); work = np.ones(20_000_000, np.uint8); del work\n"
        "print(peak_bytes() - base)"
    )
    child_process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 19e6 < int(child_process.stdout) < 30e6


def test_the_child_measures_a_segmentation(tmp_path):
    task = {"shape": [6, 64, 64], "organ": "liver", "device": "cpu", "weights": "none", "method": "prototypes"}
    child.main(tmp_path, "make", task)
    child.main(tmp_path, "measure", task)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["voxels"] == 6 * 64 * 64 == np.load(tmp_path / "scan.npy").size
    assert facts["features"] > 0
    assert facts["peak"] >= facts["baseline"]


def test_memory_is_set_against_what_the_goal_allows(monkeypatch):
    facts = {"model": 10, "voxels": 5, "budget": 30, "baseline": 1000, "peak": 1050, "features": 3}

    def fake(shape, **_):
        yield from ()
        return facts

    monkeypatch.setattr("napari_medssl.bench.memory._child_steps", fake)
    rows = finish(memory_steps(n_slices=4, organ="liver", device="cpu", weights="none"))
    assert [r.value for r in rows] == [pytest.approx(50 / (10 + 3 * 4 * 5 + 30))] * 2


def test_a_child_that_fails_says_why():
    command = [sys.executable, "-c", "import sys; sys.exit('no room left')"]
    with pytest.raises(BenchError, match="no room left"):
        finish(run_steps(command, "x"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_child_the_system_ended_is_told_from_one_that_failed():
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    with pytest.raises(BenchError, match="ended by signal 9"):
        finish(run_steps(command, "x"))


def test_a_child_is_ended_when_the_work_is_cancelled():
    steps = run_steps([sys.executable, "-c", "import time; time.sleep(60)"], "x")
    next(steps)
    start = time.perf_counter()
    steps.close()
    assert time.perf_counter() - start < 10


ROWS = [Measurement("speed", 0.5, "", 0.85, "higher", "5 against 10"), Measurement("time", 0.5, "s", 1.0)]


def _fake_bench(settings, **_):
    yield from ()
    assert settings == BenchSettings(slices=8, repeats=2)
    return ROWS


def test_the_table_judges_and_check_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "bench_steps", _fake_bench)
    arguments = ["bench", "--quick", "--set", "repeats=2", "--device", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "b.json")]) == 0
    out = capsys.readouterr().out
    assert "missed  5 against 10" in out
    assert "0.5 s" in out
    assert json.loads((tmp_path / "b.json").read_text())["measurements"][0]["met"] is False
    assert main([*arguments, "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["settings"]["slices"] == 8


@pytest.mark.slow
def test_the_whole_suite_runs():
    rows = finish(bench_steps(BenchSettings(slices=4, repeats=1), device="cpu", weights="none"))
    assert len(rows) == 12
    assert all(np.isfinite(r.value) for r in rows)


def test_training_step_is_measured_against_the_bare_one() -> None:
    rows = finish(pretraining_steps(["rotation"], device="cpu", small=True))
    assert [row.goal for row in rows] == [1.15]
    assert 0.3 < rows[0].value < 10
    assert "ms per step of 8 examples" in rows[0].detail
