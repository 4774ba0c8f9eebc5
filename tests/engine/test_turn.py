"""One job at a time."""

from __future__ import annotations

import threading
import time

import pytest

from napari_medssl.engine.turn import Turn
from napari_medssl.progress import Progress, Steps, finish


def job(n: int, log: list[str], name: str = "job") -> Steps[str]:
    for i in range(n):
        log.append(name)
        yield Progress(i, n, name)
        time.sleep(0.005)
    return name


def test_jobs_of_two_threads_do_not_mix() -> None:
    turn, log = Turn(), []  # type: tuple[Turn, list[str]]
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda name=name: answers.append(finish(turn.steps(lambda: job(5, log, name)))))
        for name in ("first", "second")
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    assert sorted(answers) == ["first", "second"]
    assert log in (["first"] * 5 + ["second"] * 5, ["second"] * 5 + ["first"] * 5)


@pytest.mark.parametrize("how", ["close", "error"])
def test_turn_is_free_again_after_close_or_error(how: str) -> None:
    turn = Turn()

    def fails() -> Steps[None]:
        yield Progress(0, 1, "x")
        raise ValueError("broken")

    steps = turn.steps(fails)
    next(steps)
    if how == "close":
        steps.close()
    else:
        with pytest.raises(ValueError, match="broken"):
            next(steps)
    assert finish(turn.steps(lambda: job(2, []))) == "job"


def test_waiting_job_reports_and_can_be_cancelled() -> None:
    turn = Turn()
    running = turn.steps(lambda: job(3, []))
    next(running)
    reports: list[Progress] = []

    def wait() -> None:
        waiting = turn.steps(lambda: job(3, []))
        reports.append(next(waiting))
        waiting.close()

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(10)
    assert reports == [Progress(0, 0, "waiting for another job")]
    assert finish(running) == "job"


def test_generator_may_be_closed_by_another_thread() -> None:
    turn = Turn()
    steps = turn.steps(lambda: job(3, []))
    next(steps)
    thread = threading.Thread(target=steps.close)
    thread.start()
    thread.join(10)
    assert finish(turn.steps(lambda: job(1, []))) == "job"


def test_thread_that_would_wait_for_itself_is_told() -> None:
    turn = Turn()
    open_steps = turn.steps(lambda: job(3, []))
    next(open_steps)
    with pytest.raises(RuntimeError, match=r"unfinished in this thread.*close\(\)"):
        finish(turn.steps(lambda: job(3, [])))
    open_steps.close()
