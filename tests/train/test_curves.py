"""The table of a run's numbers, and the watch over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medssl.errors import FormatError
from napari_medssl.train.curves import Curves, read_curves
from napari_medssl.train.divergence import DivergedError, Watch


def test_columns_come_when_they_are_first_measured(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "log.csv", step=0)
    curves.add(10, {"loss": 2.0})
    curves.add(20, {"loss": 1.5, "knn": 0.25})
    curves.add(30, {"loss": 1.0})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,loss,knn", "10,2,", "20,1.5,0.25", "30,1,"]
    assert read_curves(tmp_path / "log.csv")[20] == {"loss": 1.5, "knn": 0.25}


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "log.csv", step=0)
    for step in (10, 20, 30):
        curves.add(step, {"loss": 1 / step})
    again = Curves(tmp_path / "log.csv", step=20)
    again.add(25, {"loss": 0.5})
    assert list(read_curves(tmp_path / "log.csv")) == [10, 20, 25]
    Curves(tmp_path / "log.csv", step=0)
    assert read_curves(tmp_path / "log.csv") == {}


def test_a_row_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss,knn\n10,2.0,0.5\n20,1.")
    assert list(read_curves(tmp_path / "log.csv")) == [10]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "log.csv", step=0)
    curves.add(10, {"loss": 2.0})
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").symlink_to("/dev/full")
    with pytest.raises(FormatError, match=r"cannot write .*log\.csv: No space left on device; free some space"):
        curves.add(20, {"loss": 1.0})


def test_watch_gives_up_after_twenty_bad_steps_in_a_row(tmp_path: Path) -> None:
    watch = Watch()
    for step in range(19):
        watch.seen(step, float("nan"), tmp_path)
    assert not watch.healthy
    watch.seen(19, 1.0, tmp_path)
    assert watch.healthy
    assert watch.skipped == 19
    for step in range(19):
        watch.seen(20 + step, float("inf"), tmp_path)
    with pytest.raises(DivergedError, match="no step from 20 to 39 was finite"):
        watch.seen(39, float("nan"), tmp_path)


def test_watch_notices_a_loss_that_explodes(tmp_path: Path) -> None:
    watch = Watch()
    for step in range(60):
        watch.seen(step, -4.0, tmp_path)

    def explode() -> None:
        for step in range(60, 200):
            watch.seen(step, 1.5 * (step - 60), tmp_path)

    with pytest.raises(DivergedError, match="the loss rose from -4 to"):
        explode()


def test_watch_is_patient_with_a_loss_that_wanders(tmp_path: Path) -> None:
    watch = Watch()
    for step in range(500):
        watch.seen(step, 2.0 + (step % 7), tmp_path)
    again = Watch()
    again.restore(watch.state())
    assert again.state() == watch.state()


def test_the_advice_names_a_state_only_where_there_is_one(tmp_path: Path) -> None:
    def give_up() -> str:
        watch = Watch()
        for step in range(19):
            watch.seen(step, float("nan"), tmp_path)
        with pytest.raises(DivergedError) as caught:
            watch.seen(19, float("nan"), tmp_path)
        return str(caught.value)

    assert "last good state" not in give_up()
    (tmp_path / "state.safetensors").touch()
    assert f"the last good state is kept in {tmp_path}" in give_up()
