"""Progress and generators of it."""

from __future__ import annotations

import pytest

from napari_medssl.progress import Progress, Steps, finish


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
    closed = []

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
