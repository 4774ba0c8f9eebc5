"""`medssl weights` lists what is installed and shows model cards."""

import json

import pytest
import torch

from napari_medssl.cli import main
from napari_medssl.models.bundle import Bundle, save_bundle

CARD = {"licence": "BSD-3-Clause", "data": {"btcv": ["a", "b"]}, "metrics": [{"set": "x", "dice": 0.8}]}


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "mine.safetensors"
    modules = {"encoder": {"name": "feature-bank", "config": {}}}
    save_bundle(path, Bundle(modules, {"encoder.w": torch.zeros(2)}, CARD))
    return path


def test_the_installed_sets_are_listed(capsys):
    assert main(["weights"]) == 0
    assert "none" in capsys.readouterr().out
    assert main(["weights", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)
    assert sets[-1]["name"] == "none"


def test_the_card_of_a_file_is_shown(bundle, capsys):
    assert main(["weights", str(bundle)]) == 0
    out = capsys.readouterr().out
    assert "licence: BSD-3-Clause" in out
    assert "btcv: a, b" in out
    assert main(["weights", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"] == CARD


def test_an_installed_set_is_shown_by_name(capsys):
    assert main(["weights", "none"]) == 0
    assert "feature-bank" in capsys.readouterr().out


def test_no_such_weights(tmp_path, capsys):
    assert main(["weights", "absent"]) == 1
    assert "no weights are called 'absent'" in capsys.readouterr().err
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    assert main(["weights", str(tmp_path / "bad.safetensors")]) == 1
    assert "is not a readable safetensors file" in capsys.readouterr().err
