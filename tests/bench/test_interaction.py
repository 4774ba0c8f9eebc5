"""A simulated user on a small scan, with an engine made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_medssl.bench.calibrating import Judgement, fit_steps, judge_steps, slice_dice
from napari_medssl.bench.interaction import OURS, WALKER, WALKER_OWN, corrections_steps, slices_steps
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.io import write
from napari_medssl.oneshot.calibration import Calibration, checked, of_entry
from napari_medssl.progress import finish
from napari_medssl.train.dataset import Case, collect_cases
from napari_medssl.volume import Volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of an organ that grows and ends."""
    root = tmp_path_factory.mktemp("labelled")
    for name in ("images", "labels"):
        (root / name).mkdir()
    ys, xs = np.ogrid[:40, :40]
    for n in range(2):
        labels = np.zeros((14, 40, 40), np.uint8)
        for z in range(2, 12):
            labels[z][(ys - 18 - n) ** 2 + (xs - 20) ** 2 < (4 + 0.5 * z) ** 2] = 1
        rng = np.random.default_rng(n)
        image = 40 + 60.0 * labels + rng.normal(0, 12, labels.shape)
        image[:8, 24:36, 8:30] = 95 + rng.normal(0, 12, (8, 12, 22))  # a neighbour as bright, which hides its edge
        affine = np.diag([1.5, 1.5, 5.0, 1.0])[:, [2, 1, 0, 3]]
        scan = Volume(image.astype(np.float32), affine, "MR")
        write(root / "images" / f"case_{n}.nii.gz", scan)
        write(root / "labels" / f"case_{n}.nii.gz", scan.like(labels))
    return root


@pytest.fixture(scope="module")
def engine() -> Any:
    """Without weights: a random walker within the scan, prototypes across."""
    with Engine("cpu", weights="none") as made:
        yield made


@pytest.fixture
def cases(folder: Path) -> list[Case]:
    """The two scans."""
    return collect_cases([folder])


def test_slices_are_added_by_every_rule(cases: list[Case], engine: Engine) -> None:
    rules = ["suggest", "furthest", "middle", "random"]
    found = finish(slices_steps(cases[:1], rules, engine=engine, count=3))
    assert [c.way for c in found] == rules
    for course in found:
        assert len(course.dice) == len(course.elsewhere) == 3
        assert len({abs(z) for z in course.slices}) == 3
        assert course.slices[0] == 11  # the largest
        assert course.dice[-1] > course.dice[0]
    assert len({course.dice[0] for course in found}) == 1  # all began alike


def test_nothing_is_labelled_twice_and_the_end_of_the_organ_is_said(cases: list[Case], engine: Engine) -> None:
    (course,) = finish(slices_steps(cases[:1], ["suggest"], engine=engine, count=8))
    known = [z if z >= 0 else -1 - z for z in course.slices]
    assert len(known) == len(set(known))
    assert all((2 <= z <= 11) == (said >= 0) for z, said in zip(known, course.slices, strict=True))


def test_corrections_of_both_are_measured_on_the_same_strokes(cases: list[Case], engine: Engine) -> None:
    found = finish(corrections_steps(cases[:1], engine=engine, count=3, against=(WALKER, WALKER_OWN)))
    ours, walker, own = found
    assert [c.way for c in found] == [OURS, WALKER, WALKER_OWN]
    assert ours.slices == walker.slices
    assert ours.dice[-1] > ours.dice[0]
    assert len(ours.dice) == len(walker.dice) == len(own.dice) == 4
    assert walker.dice[0] == own.dice[0]
    assert len(ours.seconds) == len(ours.slices) - 1


def test_what_cannot_be_simulated_is_refused(cases: list[Case], engine: Engine) -> None:
    with pytest.raises(SettingsError, match="no rule 'best'"):
        finish(slices_steps(cases, ["best"], engine=engine))
    with pytest.raises(SettingsError, match="no such method"):
        finish(corrections_steps(cases, engine=engine, against=["magic"]))
    with pytest.raises(FormatError, match="no scan with labels"):
        finish(slices_steps([Case(Path("a.nii"), None, "g")], ["random"], engine=engine))


@pytest.mark.parametrize("route", ["within", "across"])
def test_a_fit_is_better_calibrated_on_what_it_was_fitted_on(route: Any, cases: list[Case], engine: Engine) -> None:
    entry = finish(fit_steps(cases, route, engine=engine))
    assert checked({"format": 1, "entries": [entry]}) == [entry]
    assert entry["weights"] == engine.weights_hash
    (judged,) = finish(judge_steps(cases, route, engine=engine, calibration=of_entry(entry)))
    facts = judged.facts()
    for name in ("ece_voxels", "ece_slices", "dice_off") if route == "within" else ("ece_voxels",):
        assert facts[name]["after"] < facts[name]["before"]
    assert facts["organs"] == (4 if route == "within" else 2)


def test_a_judgement_of_nothing_has_no_numbers() -> None:
    facts = Judgement("none").facts()
    assert facts["ece_voxels"] == {"before": None, "after": None}
    assert Calibration().voxel is None


def test_dice_of_slices_counts_a_slice_rightly_empty_as_one() -> None:
    label, truth = np.zeros((3, 2, 2), bool), np.zeros((3, 2, 2), bool)
    label[1], truth[1, 0], truth[2] = True, True, True
    assert slice_dice(label, truth).tolist() == [1.0, pytest.approx(2 / 3), 0.0]
