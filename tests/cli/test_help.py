"""Help answers at once, wrong usage and users' mistakes have their exit codes."""

import subprocess
import sys
import time

import pytest

from napari_medssl.cli import COMMANDS, main
from napari_medssl.cli.console import Console
from napari_medssl.progress import Progress


def medssl(*arguments, **more):
    command = [sys.executable, "-m", "napari_medssl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from napari_medssl.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or (3 if {'torch', 'monai', 'numpy', 'nibabel'} & set(sys.modules) else 0))"
    )
    child = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    assert "usage: medssl" in child.stdout


def test_help_takes_less_than_half_a_second():
    seconds = []
    for _ in range(3):  # the best of three: other programs may hold the processor
        start = time.perf_counter()
        assert medssl("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_the_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("napari-medssl ")


@pytest.mark.parametrize("arguments", [[], ["segmentt"], ["info"], ["info", "x", "--none"], ["--quiet", "info", "x"]])
def test_wrong_usage_is_two(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: medssl" in capsys.readouterr().err


def test_a_users_mistake_is_one_sentence_and_one():
    child = medssl("info", "does/not/exist.nii.gz")
    assert child.returncode == 1
    assert child.stderr.startswith("medssl: ")
    assert "does/not/exist.nii.gz" in child.stderr
    assert child.stderr.count("\n") == 1


def test_a_cancelled_command_is_130_and_closes_its_work(monkeypatch, capsys):
    closed = []

    def work():
        try:
            yield Progress(0, 2, "working")
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    monkeypatch.setattr("napari_medssl.cli.info.run", lambda args, console: console.follow(work()))
    assert main(["info", "x"]) == 130
    assert capsys.readouterr().err == "medssl: cancelled\n"
    assert closed


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    def work():
        yield Progress(1, 2, "encoding")
        yield Progress(1, 3, "propagating")
        return 7

    assert Console().follow(work()) == 7
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert Console().follow(work()) == 7
    shown = capsys.readouterr().err
    assert "encoding" in shown
    assert "propagating" in shown
    assert Console(quiet=True).follow(work()) == 7
    assert capsys.readouterr().err == ""
