"""Joining trained modules into one file."""

from __future__ import annotations

import json

import pytest
import torch

from napari_medssl.cli import OK, USER_ERROR, main
from napari_medssl.models.bundle import Bundle, load_bundle, save_bundle


@pytest.fixture
def parts(tmp_path):
    paths = []
    for role in ("encoder", "propagator"):
        bundle = Bundle({role: {"name": f"{role}-x", "config": {}}}, {f"{role}.w": torch.ones(3)}, {"recipe": role})
        paths.append(tmp_path / f"{role}.safetensors")
        save_bundle(paths[-1], bundle)
    return paths


def test_joined_file_holds_both_modules_and_cards(tmp_path, parts, capsys):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"licence": "BSD-3-Clause"}))
    out = tmp_path / "all.safetensors"
    assert main(["pack", *map(str, parts), "--card", str(card), "--out", str(out)]) == OK
    joined = load_bundle(out)
    assert set(joined.modules) == {"encoder", "propagator"}
    assert joined.card == {
        "licence": "BSD-3-Clause",
        "encoder": {"recipe": "encoder"},
        "propagator": {"recipe": "propagator"},
    }
    assert torch.equal(joined.state("propagator")["w"], torch.ones(3))
    assert "all.safetensors" in capsys.readouterr().out


def test_same_module_twice_is_refused_and_nothing_is_written(tmp_path, parts, capsys):
    out = tmp_path / "all.safetensors"
    assert main(["pack", str(parts[0]), str(parts[0]), "--out", str(out)]) == USER_ERROR
    assert "encoder" in capsys.readouterr().err
    assert not out.exists()


def test_existing_file_is_kept_without_force(tmp_path, parts, capsys):
    out = tmp_path / "all.safetensors"
    out.write_bytes(b"precious")
    assert main(["pack", *map(str, parts), "--out", str(out)]) == USER_ERROR
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
