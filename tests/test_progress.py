"""Progress and generators of it."""

from __future__ import annotations

import pytest

from napari_medssl.progress import Progress, Steps, finish, reporting


def count(n: int) -> Steps[str]:
    for i in range(n):
        yield Progress(i, n, "counting")
    return f"counted {n}"


@pytest.mark.parametrize(("done", "total", "fraction"), [(0, 4, 0.0), (1, 4, 0.25), (9, 4, 1.0), (3, 0, 0.0)])
def test_fraction_stays_in_range_and_is_zero_while_unknown(done: int, total: int, fraction: float) -> None:
    assert Progress(done, total, "").fraction == fraction


def test_finish_hands_on_every_report_and_gives_the_result() -> None:
    seen: list[Progress] = []
    assert finish(count(3), seen.append) == "counted 3"
    assert [p.done for p in seen] == [0, 1, 2]
    assert finish(count(0)) == "counted 0"


def test_an_error_in_the_work_passes_through() -> None:
    def failing() -> Steps[None]:
        yield Progress(0, 1, "")
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        finish(failing())


def test_work_can_be_stopped_at_a_report_and_cleans_up() -> None:
    closed: list[bool] = []

    def holding() -> Steps[None]:
        try:
            yield Progress(0, 2, "")
            yield Progress(1, 2, "")
        finally:
            closed.append(True)

    steps = holding()
    next(steps)
    steps.close()
    assert closed == [True]


def test_reporting_changes_and_keeps_back_reports_but_not_the_result() -> None:
    closed: list[bool] = []

    def work() -> Steps[str]:
        try:
            for i in range(4):
                yield Progress(i, 4, "working")
            return "done"
        finally:
            closed.append(True)

    def see(progress: Progress) -> Progress | None:
        return None if progress.done == 1 else Progress(progress.done, progress.total, "seen")

    heard: list[Progress] = []
    assert finish(reporting(work(), see), heard.append) == "done"
    assert [(p.done, p.label) for p in heard] == [(0, "seen"), (2, "seen"), (3, "seen")]
    stopped = reporting(work(), see)
    next(stopped)
    stopped.close()
    assert closed == [True, True]


def test_what_see_raises_ends_the_work() -> None:
    closed: list[bool] = []

    def work() -> Steps[str]:
        try:
            yield Progress(0, 1, "working")
            return "done"
        finally:
            closed.append(True)

    def see(progress: Progress) -> Progress:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(reporting(work(), see))
    assert closed == [True]
