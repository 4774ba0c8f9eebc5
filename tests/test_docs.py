"""The documents say what is true: links and paths lead somewhere, the README's code runs, its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_medssl import Volume, cli, read, write

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
README = PROJECT / "README.md"


def name_of(document: Path) -> str:
    return document.relative_to(PROJECT).as_posix()


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    broken = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_named_files_exist(document: Path) -> None:
    """Paths and `path.py`: `name` pairs in the documents; a renamed function must take its documents along."""
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:napari_medssl|tests|scripts|docs)/[\w/.-]+)`", text):
        assert (PROJECT / path).exists(), path
    for path, names in re.findall(r"`(napari_medssl/[\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", text):
        source = (PROJECT / path).read_text(encoding="utf-8")
        for name in re.findall(r"\w+", names):
            assert re.search(rf"^(?:def|class) {name}\b|^{name}\b", source, re.MULTILINE), f"{path} has no {name}"


@pytest.fixture
def labelled_slab() -> Volume:
    """A bright square rod through 6 dark, slightly noisy slices."""
    rng = np.random.default_rng(0)
    data = rng.normal(20, 2, (6, 32, 32)).astype(np.float32)
    data[:, 10:22, 8:20] += 160
    return Volume(data, np.array([[0, 0, -2.0, 30], [0, -2.0, 0, 30], [4.0, 0, 0, 0], [0, 0, 0, 1]]))


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")], ids=name_of)
def test_python_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled_slab: Volume) -> None:
    """As a user would: the blocks of a document word for word, on files of the names they use.

    A document that segments shows the result; others have run when nothing is raised.
    """
    monkeypatch.chdir(tmp_path)
    truth = labelled_slab.data > 100
    one_slice = np.zeros(labelled_slab.shape, np.uint8)
    one_slice[3] = truth[3]
    write("scan.nii.gz", labelled_slab)
    for name in ("one_slice.nii.gz", "painted.nii.gz"):
        write(name, labelled_slab.like(one_slice))
    Path("scans").mkdir()
    for i in range(3):
        write(f"scans/person_{i}.nii.gz", labelled_slab.like(np.roll(labelled_slab.data, i, 1)))

    variables: dict[str, Any] = {}
    for code in blocks(document, "python"):
        exec(compile(code, name_of(document), "exec"), variables)

    if "result" not in variables:
        return
    found = variables["result"].labels.data > 0
    assert np.array_equal(found[3], truth[3])
    if "organs.nii.gz" in document.read_text(encoding="utf-8"):
        assert np.array_equal(read("organs.nii.gz", labels=True).data > 0, found)


def shown_commands() -> list[str]:
    """Every `medssl ...` line in the documents' shell blocks, as one line without its remark."""
    text = "\n".join(block for d in DOCUMENTS for language in ("console", "bash") for block in blocks(d, language))
    lines = text.replace("\\\n", " ").splitlines()
    return sorted({line.partition(" #")[0].strip() for line in lines if line.startswith("medssl ")})


@pytest.mark.parametrize("line", shown_commands())
def test_shown_commands_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, command, *arguments = shlex.split(line)
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert [a for a in arguments if a.startswith("--") and not re.search(rf"{a}\b", text)] == []
