"""Weights on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_medssl.errors import FormatError, WeightsError
from napari_medssl.models.bundle import Bundle, file_sha256, load_bundle, load_module, save_bundle


def bundle() -> Bundle:
    torch.manual_seed(0)
    tensors = {
        "encoder.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "encoder.count": torch.tensor(7),
        "encoder_extra.weight": torch.randn(2),
        "propagator.bias": torch.randn(5, requires_grad=True),
    }
    modules = {"encoder": {"name": "slice-resnet", "config": {"width": 8}}, "propagator": {"name": "crop-unet"}}
    return Bundle(modules, tensors, {"licence": "CC-BY-4.0", "dice": 0.8})


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    saved = bundle()
    sha = save_bundle(tmp_path / "w.safetensors", saved)
    loaded = load_bundle(tmp_path / "w.safetensors")
    assert loaded.modules == saved.modules
    assert loaded.card == saved.card
    assert loaded.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(loaded.tensors[k], v) for k, v in saved.tensors.items())
    assert loaded.sha256 == sha == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()


def test_half_precision_halves_the_file_and_is_read_back_as_float32(tmp_path: Path) -> None:
    big = Bundle({}, {"encoder.w": torch.linspace(-1, 1, 10_000), "encoder.n": torch.arange(3)})
    save_bundle(tmp_path / "full.safetensors", big)
    save_bundle(tmp_path / "half.safetensors", big, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (tmp_path / "full.safetensors").stat().st_size
    loaded = load_bundle(tmp_path / "half.safetensors").tensors
    assert loaded["encoder.w"].dtype == torch.float32
    assert torch.equal(loaded["encoder.w"], big.tensors["encoder.w"].half().float())
    assert torch.equal(loaded["encoder.n"], torch.arange(3))


def test_state_gives_one_module_without_its_prefix() -> None:
    assert set(bundle().state("encoder")) == {"weight", "count"}
    assert bundle().state("classifier") == {}


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_bundle(path, bundle())
    before = path.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):  # safetensors refuses two names for one memory
        save_bundle(path, Bundle({}, {"a.x": shared, "a.y": shared}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_others_may_read_the_weights_as_they_may_read_any_new_file(tmp_path: Path) -> None:
    save_bundle(tmp_path / "w.safetensors", bundle())
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        save_bundle(tmp_path / "none" / "w.safetensors", bundle())


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*none\.safetensors"):
        load_bundle(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_file_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "w.safetensors"
    save_bundle(path, bundle())
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"not weights" * 50, "empty": b""}[damage])
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "no napari-medssl weights file of format 1"),
        ({"format": "2", "modules": "{}"}, "no napari-medssl weights file of format 1"),
        ({"format": "1"}, "does not say what its weights are"),
        ({"format": "1", "modules": "{not json"}, "does not say what its weights are"),
    ],
)
def test_foreign_weights_are_told(tmp_path: Path, meta: dict[str, str] | None, message: str) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "w.safetensors", metadata=meta)
    with pytest.raises(WeightsError, match=message):
        load_bundle(tmp_path / "w.safetensors")


def test_a_module_takes_its_state_and_is_ready_to_be_used() -> None:
    torch.manual_seed(1)
    source, target = nn.Linear(3, 2), nn.Linear(3, 2).train()
    assert load_module(target, source.state_dict(), "layer") is target
    assert torch.equal(target.weight, source.weight)
    assert not target.training


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, r"do not fit the layer: 1 missing \['bias'\], 0 unknown"),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "gain": torch.zeros(1)},
            r"0 missing \[\], 1 unknown \['gain'\]",
        ),
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, r"1 of another shape \['weight'\]"),
    ],
)
def test_weights_of_another_architecture_are_told(state: dict[str, torch.Tensor], message: str) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(WeightsError, match=message):
        load_module(layer, state, "layer")
    assert torch.equal(layer.weight, before)


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "f").write_bytes(content)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()
