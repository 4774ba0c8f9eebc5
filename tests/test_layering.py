"""The direction of imports: contracts held by import-linter, and what child processes really load."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import napari_medssl
from napari_medssl.cli import COMMANDS

PACKAGE = Path(napari_medssl.__file__).parent
GUI = ("napari", "npe2", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6")
HEAVY = (
    "torch",
    "monai",
    "scipy",
    "skimage",
    "nibabel",
    "SimpleITK",
    "pydicom",
    "highdicom",
    "matplotlib",
    "dask",
    "distributed",
    "zarr",
)

BLOCK = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it now raises ModuleNotFoundError
"""


def run_python(code: str, *arguments: str) -> str:
    """Standard output of `code` in a fresh interpreter; its failure is this test's failure, with its traceback."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    child = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=240, env=environment
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


def loaded_after(code: str) -> set[str]:
    """Top-level packages in memory after `code` ran in a fresh interpreter."""
    report = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(json.loads(run_python(report).splitlines()[-1]))


def modules(*parts: str) -> list[str]:
    """Every module of these members of the package (all members without arguments), outside the widgets."""
    found = [info.name for info in pkgutil.walk_packages([str(PACKAGE)], "napari_medssl.", onerror=lambda name: None)]
    members = {name: name.split(".")[1] for name in found}
    return [n for n in found if members[n] != "widgets" and (not parts or members[n] in parts) and "__main__" not in n]


def test_import_contracts_hold() -> None:
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=240
    )
    assert child.returncode == 0, child.stdout + child.stderr
    assert " 0 broken" in child.stdout


def test_core_imports_without_napari_and_qt() -> None:
    names = modules()
    assert {"napari_medssl.io", "napari_medssl.engine", "napari_medssl.cli"} <= set(names)
    code = f"{BLOCK.format(blocked=GUI)}\nimport importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    run_python(code, *names)


def test_blocking_is_effective() -> None:
    """The guard of the test above: a blocked package really cannot be imported."""
    code = f"{BLOCK.format(blocked=GUI)}\ntry:\n    import napari\nexcept ModuleNotFoundError:\n    print('blocked')"
    assert run_python(code).strip() == "blocked"


def test_readers_load_no_torch() -> None:
    names = modules("volume", "geometry", "intensity", "io", "samples")
    assert {"napari_medssl.volume", "napari_medssl.geometry", "napari_medssl.io"} <= set(names)
    loaded = loaded_after("\n".join(f"import {name}" for name in names))
    assert not loaded & {"torch", "monai", *GUI}


def test_public_readers_load_no_torch() -> None:
    loaded = loaded_after("from napari_medssl import Volume, read, write")
    assert "nibabel" in loaded or "numpy" in loaded
    assert not loaded & {"torch", "monai", *GUI}


def test_package_import_loads_nothing_heavy() -> None:
    assert not loaded_after("import napari_medssl") & {*HEAVY, *GUI, "numpy"}


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda c: " ".join(c) or "medssl")
def test_help_loads_no_torch(command: tuple[str, ...]) -> None:
    """`medssl --help` and the help of each command answer at once: they import neither torch nor a viewer."""
    code = f"from napari_medssl.cli import main\nassert main({[*command, '--help']!r}) == 0"
    assert not loaded_after(code) & {*HEAVY, *GUI}


def test_public_names_are_there() -> None:
    """Each name the package promises can be had, and its home is where the type checker is told it is."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    promised = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_medssl.")
        for alias in node.names
    }
    assert set(promised) == set(napari_medssl.__all__)
    for name, home in promised.items():
        assert getattr(napari_medssl, name) is getattr(importlib.import_module(str(home)), name)
    with pytest.raises(AttributeError, match="no_such_name"):
        napari_medssl.no_such_name  # noqa: B018 (the access is the test)
