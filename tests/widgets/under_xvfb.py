"""A driver of the real window, started under a virtual screen by the tests marked `gui`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def drive(module: str, *arguments: object, timeout: int, height: int = 900) -> dict[str, Any]:
    """Run `tests.widgets.MODULE` under Xvfb; the facts it printed last. Skips where there is no Xvfb."""
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("xvfb-run is not installed (Debian: apt-get install xvfb), so there is no screen to test on")
    screen = [xvfb, "-a", "-s", f"-screen 0 1400x{height}x24"]
    surroundings = {key: value for key, value in os.environ.items() if key != "QT_QPA_PLATFORM"}
    done = subprocess.run(
        [*screen, sys.executable, "-m", f"tests.widgets.{module}", *map(str, arguments)],
        capture_output=True, text=True, env=surroundings, timeout=timeout, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts
