"""What a user installs: contents of wheel and sdist, and that npe2 finds the plugin however it was installed.

The three installations (wheel, sdist, editable) go into virtual environments of their own, offline: they borrow the
present environment's packages through a folder of links that leaves out this package's own installation.
"""

from __future__ import annotations

import ast
import email.message
import email.parser
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement

import napari_medssl

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(napari_medssl.__file__).parent
WEIGHTS_LIMIT = 16 * 1024**2  # bytes; what ships must stay quick to install

DESCRIBE = """
import json
import npe2
import napari_medssl

plugins = npe2.PluginManager()
plugins.discover()
manifest = plugins.get_manifest("napari-medssl")
print(json.dumps({
    "file": napari_medssl.__file__,
    "version": manifest.package_metadata.version,
    "commands": sorted(c.id for c in manifest.contributions.commands),
}))
"""


def run(*command: str | Path, cwd: Path = PROJECT, **environment: str) -> str:
    """Standard output of a child process; its failure is this test's failure, with all it wrote."""
    child = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
    )
    assert child.returncode == 0, child.stdout + child.stderr
    return child.stdout


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist of this tree, the wheel built from that sdist, and the wheel built from the tree itself."""
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation", ".", "--outdir")
    run(*build, out / "both")
    run(*build, out / "direct", "--wheel")
    (sdist,) = (out / "both").glob("*.tar.gz")
    (wheel,) = (out / "both").glob("*.whl")
    (direct,) = (out / "direct").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel, "direct": direct}


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to every installed package except this one."""
    folder = tmp_path_factory.mktemp("borrowed")
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if "napari_medssl" not in entry.name and entry.suffix != ".pth":
                (folder / entry.name).symlink_to(entry)
    return folder


def packed(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def metadata_of(wheel: Path) -> email.message.Message:
    (name,) = (name for name in packed(wheel) if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return email.parser.Parser().parsestr(archive.read(name).decode())


def test_wheel_holds_the_package_and_its_data(dists: dict[str, Path]) -> None:
    names = packed(dists["wheel"])
    in_tree = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".part"
    }
    assert {"napari_medssl/napari.yaml", "napari_medssl/py.typed"} <= in_tree
    assert in_tree <= names
    assert {name.split("/")[0] for name in names - in_tree} == {f"napari_medssl-{napari_medssl.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_is_the_same_from_sdist_and_tree(dists: dict[str, Path]) -> None:
    assert packed(dists["wheel"]) == packed(dists["direct"])


def test_weights_that_ship_are_small(dists: dict[str, Path]) -> None:
    with zipfile.ZipFile(dists["wheel"]) as archive:
        sizes = {i.filename: i.file_size for i in archive.infolist() if i.filename.endswith(".safetensors")}
    assert sum(sizes.values()) <= WEIGHTS_LIMIT, sizes


def test_sdist_can_be_developed_from(dists: dict[str, Path]) -> None:
    with tarfile.open(dists["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "constraints.txt", "run", "scripts/setup.sh", "README.md", "LICENSE", "CHANGELOG.md"}
    assert wanted | {"napari_medssl/napari.yaml", "tests/test_packaging.py"} <= names


def test_metadata(dists: dict[str, Path]) -> None:
    facts = metadata_of(dists["wheel"])
    assert facts["Name"] == "napari-medssl"
    assert facts["Version"] == napari_medssl.__version__
    assert facts["License-Expression"] == "BSD-3-Clause"
    assert {"napari", "all", "gpu", "test", "testing", "dev"} <= set(facts.get_all("Provides-Extra") or ())
    needed = {r.name.lower() for r in map(Requirement, facts.get_all("Requires-Dist") or ()) if not r.marker}
    assert {"torch", "numpy", "nibabel", "monai"} <= needed
    assert not needed & {"napari", "qtpy", "magicgui", "superqt", "pyqt6"}, "a headless install must not pull a viewer"
    assert "pylibjpeg-libjpeg" not in needed, "GPL"


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_npe2_finds_the_installed_plugin(kind: str, dists: dict[str, Path], borrowed: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python" if os.name != "nt" else home / "Scripts" / "python.exe"
    source = ("-e", PROJECT) if kind == "editable" else (dists[kind],)
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, *source, PYTHONPATH=str(borrowed))

    # From elsewhere: Python puts the folder it starts in before everything installed.
    answer = run(python, "-W", "ignore", "-c", DESCRIBE, cwd=tmp_path, PYTHONPATH=str(borrowed))
    found = json.loads(answer.splitlines()[-1])

    expected_home = PACKAGE if kind == "editable" else home
    assert Path(found["file"]).resolve().is_relative_to(expected_home.resolve())
    assert found["version"] == napari_medssl.__version__
    assert found["commands"] == sorted(c.id for c in manifest().contributions.commands or ())
    assert found["commands"]


def manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGE / "napari.yaml")


def test_manifest_at_the_top_is_a_link() -> None:
    """The file npe2 reads lies in the package; the one at the top of the repository must not become a second truth."""
    top = PROJECT / "napari.yaml"
    if not (PROJECT / ".git").exists():
        pytest.skip("only a checkout has the link at its top, an unpacked sdist has not")
    assert top.is_symlink()
    assert top.resolve() == (PACKAGE / "napari.yaml").resolve()


def test_manifest_commands_lead_somewhere() -> None:
    assert manifest().name == "napari-medssl"
    for command in manifest().contributions.commands or ():
        module, _, attribute = str(command.python_name).partition(":")
        assert callable(getattr(importlib.import_module(module), attribute)), command.python_name


def imported_packages(folder: Path) -> dict[str, Path]:
    """Third-party top-level packages imported anywhere under `folder`, each with one file that does."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            found.update({name.partition(".")[0]: path for name in names})
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "napari_medssl"}}


def test_every_import_is_a_declared_dependency(dists: dict[str, Path]) -> None:
    """What the code imports is what pip installs: nothing is there only because something else happened to bring it."""
    homes = importlib.metadata.packages_distributions()
    lines = metadata_of(dists["wheel"]).get_all("Requires-Dist") or ()
    declared = {Requirement(line).name.lower().replace("_", "-") for line in lines}
    for package, path in imported_packages(PACKAGE).items():
        distributions = {name.lower().replace("_", "-") for name in homes.get(package, [package])}
        assert distributions & declared, f"{path} imports {package}, which nobody declares"
