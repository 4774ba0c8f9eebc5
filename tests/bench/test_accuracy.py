"""The protocol of the accuracy measurement, and its agreement with the benchmark script kept beside the data."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import napari_medssl
from napari_medssl import Volume, read, write
from napari_medssl.bench.accuracy import Examination, Protocol, accuracy_steps, organs_of
from napari_medssl.bench.alternatives import Prepared, prepare
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.progress import finish


def write_case(folder, name, labels, affine=None):
    image = 100 + 100 * labels + np.random.default_rng(len(name)).normal(0, 5, labels.shape)
    affine = np.diag([4.0, -2.0, -2.0, 1.0])[[2, 1, 0, 3]] if affine is None else affine
    for kind, array in (("images", image.astype(np.float32)), ("labels", labels.astype(np.uint8))):
        (folder / kind).mkdir(exist_ok=True)
        write(folder / kind / f"{name}.nii.gz", Volume(array, affine))


@pytest.fixture
def engine():
    with Engine(device="cpu", weights="none") as made:
        yield made


@pytest.fixture
def people(tmp_path):
    """Two scans of one person and one of each of two others; the organ has 6 slices."""
    for n, name in enumerate(("p1_ED", "p1_ES", "p2_ED", "p3_ED")):
        labels = np.zeros((8, 32, 32))
        labels[1:7, 8 + n : 18 + n, 8:20] = 1
        write_case(tmp_path, name, labels)
    return tmp_path


def test_small_organs_are_left_out():
    organ = np.zeros((20, 4, 4), bool)
    organ[3:13] = True
    assert organs_of(np.where(organ, 2, 0)) == []  # 160 voxels are too few
    flat = np.zeros((4, 20, 20), int)
    flat[1:3] = 1
    assert organs_of(flat) == []
    flat[3] = 1
    assert organs_of(flat) == [1]


def run(folder, engine, protocol, **options):
    examination = Examination(folder, protocol, engine=engine, **options)
    return [s for case in examination.cases for s in finish(examination.scan_steps(case))]


def test_within_labels_slices_of_the_scan_itself(people, engine):
    protocol = Protocol("within", supports=3, slices=(1, 2, 6), against=("copy",))
    scores = run(people, engine, protocol, only=["p2"])
    ours = [s for s in scores if s.method == "medssl"]
    assert {(s.choice, s.slices) for s in ours} == {(c, k) for c in range(3) for k in (1, 2)}, "6 slices leave none"
    firsts = [s.labelled for s in ours if s.slices == 1]
    assert len(set(firsts)) == 3
    assert firsts[0] == (1,), "the first of the largest"
    for score in ours:
        assert set(score.labelled) <= set(range(1, 7))
        assert score.person == "p2"
        twin = next(s for s in scores if (s.method, s.choice, s.slices) == ("copy", score.choice, score.slices))
        assert twin.labelled == score.labelled
        # A straight rod: the copy is right on its own slices, and wrong on the one beyond either end.
        assert twin.in_range == 1
        assert twin.whole == pytest.approx(2 * (6 - score.slices) / (2 * (6 - score.slices) + 2))
        assert twin.volume_percent == pytest.approx(100 * 2 / (6 - score.slices))
        assert twin.common <= twin.whole
    again = run(people, engine, protocol, only=["p2"])
    assert [s.labelled for s in again] == [s.labelled for s in scores]
    other = [run(people, engine, Protocol("within", supports=3, seed=n), only=["p2"]) for n in range(1, 4)]
    assert any([s.labelled for s in scores] != firsts for scores in other)


def test_across_takes_other_people(people, engine):
    settings = SegmentSettings(method="prototypes")
    scores = run(people, engine, Protocol("across", supports=2, against=("forest",)), settings=settings)
    pairs = {(s.scan[:5], s.support[:5], s.choice) for s in scores}
    assert pairs == {
        ("p1_ED", "p3_ED", 0), ("p1_ES", "p3_ED", 0), ("p2_ED", "p3_ED", 0),
        ("p1_ED", "p2_ED", 1), ("p1_ES", "p2_ED", 1), ("p3_ED", "p2_ED", 1),
    }  # fmt: skip
    assert {s.labelled for s in scores} == {(2, 4, 6)}, "the middles of three equal parts"
    forest = [s for s in scores if s.method == "forest"]
    assert len(forest) == len(scores) / 2
    assert min(s.whole for s in forest) > 0.8, "a bright organ is found by its intensity"
    donors = Examination(people, Protocol("across"), engine=engine, donors=["p1"])
    assert [c.image.name[:5] for c in donors.cases] == ["p2_ED", "p3_ED"]


def test_grids_that_differ_are_refused(people, engine):
    write(people / "labels" / "p2_ED.nii.gz", Volume(np.ones((8, 16, 16), np.uint8), np.diag([4.0, 2, 2, 1])))
    with pytest.raises(FormatError, match="p2_ED"):
        finish(accuracy_steps(people, "within", engine=engine, only=["p2"]))


@pytest.fixture
def benchmark(shared_data, tmp_path):
    """The benchmark script, and a function that makes a folder with every fourth slice of a scan and some organs."""
    script = shared_data.parent / "bench" / "oneshot.py"
    if not script.is_file():
        pytest.skip("the benchmark script beside the data is not here")
    spec = importlib.util.spec_from_file_location("oneshot_benchmark", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def small(*organs):
        for kind in ("images", "labels"):
            whole = read(shared_data / "chaos_t2" / kind / "chaos_t2_01.nii.gz", labels=kind == "labels")
            part = whole.data[::4, 32:200, 30:220]  # in plane still 160 pixels, which alternatives halve
            if kind == "labels":
                part = np.where(np.isin(part, organs), part, 0)
            (tmp_path / kind).mkdir()
            write(tmp_path / kind / "scan.nii.gz", Volume(part.copy(), whole.affine @ np.diag([4.0, 1, 1, 1])))
        return tmp_path

    return module, small


def test_ours_agrees_exactly_with_the_benchmark(benchmark):
    module, small = benchmark
    folder = small(1, 2)
    with Engine(device="cpu") as engine:
        scores = finish(accuracy_steps(folder, "within", engine=engine))
        state = {"ms": napari_medssl, "engine": engine}
        rows = module.within(str(folder / "images" / "scan.nii.gz"), "medssl", state)
    assert len(rows) == 2
    assert [(s.organ, s.whole, s.in_range) for s in scores] == [(r["organ"], r["whole"], r["in_range"]) for r in rows]


@pytest.mark.parametrize(("ours", "theirs"), [("copy", "copy"), ("forest", "rf"), ("random-walker", "rw")])
def test_alternatives_agree_with_the_benchmark(benchmark, engine, ours, theirs):
    module, small = benchmark
    folder = small(1)
    score = run(folder, engine, Protocol("within", against=(ours,)))[1]
    (row,) = module.within(str(folder / "images" / "scan.nii.gz"), theirs, {})
    assert (score.method, score.organ) == (ours, row["organ"])
    assert (score.whole, score.in_range) == pytest.approx((row["whole"], row["in_range"]), abs=1e-4)


def test_scans_are_read_once_and_the_clock_runs_for_organs_alone(people, engine, monkeypatch):
    read_files, ready = [], []
    monkeypatch.setattr("napari_medssl.bench.accuracy.read", lambda p, **k: read_files.append(p) or read(p, **k))
    get_ready = Prepared.get_ready
    monkeypatch.setattr(Prepared, "get_ready", lambda self, name: (ready.append(name), get_ready(self, name))[1])
    run(
        people,
        engine,
        Protocol("across", supports=3, against=("forest",)),
        settings=SegmentSettings(method="prototypes"),
    )
    assert len(read_files) == len(set(read_files)) == 2 * 4
    assert set(ready) == {"forest"}
    with monkeypatch.context() as closed:
        seen = prepare(Volume(np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32), np.eye(4)), 1)
        seen.get_ready("forest")
        closed.setattr("napari_medssl.bench.alternatives._features", None)
        assert seen.features.shape == (2, 8, 8, 12)
