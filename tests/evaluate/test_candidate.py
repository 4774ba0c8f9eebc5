"""Loading what is judged, and the same architecture with first weights."""

import pytest
import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.evaluate.candidate import load_candidate, load_candidates
from napari_medssl.evaluate.phases import named_stages
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d


def test_shipped_weights_and_fresh_ones(policy):
    found = load_candidate("default", policy)
    assert (found.kind, found.dims, found.size, found.learns) == ("slice-resnet", 2, 192, True)
    first, again, other = (found.fresh(s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    weights = [k for k in first if k.endswith("conv1.weight")]
    assert not any(torch.equal(first[k], other[k]) for k in weights)
    assert not any(torch.equal(first[k], found.encoder.state_dict()[k]) for k in weights)
    assert found.architecture == load_candidate("default", policy).architecture
    assert found.architecture != load_candidate("default", policy, size=96).architecture


def test_fresh_weights_leave_the_global_generator_alone(candidate):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    candidate.fresh(0)
    assert torch.equal(torch.rand(1), expected)


def test_a_copy_can_be_trained_and_the_original_not(candidate):
    copy = candidate.trainable()
    assert all(p.requires_grad for p in copy.parameters())
    assert not any(p.requires_grad for p in candidate.encoder.parameters())
    x = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(copy(x), candidate.encoder(x))


def test_volume_weights_become_slabs(policy, tmp_path):
    torch.manual_seed(0)
    network = build_encoder3d("unet3d", width=1 / 16)
    save_bundle(tmp_path / "v.safetensors", module_bundle("encoder3d", "unet3d", network, {}))
    found = load_candidate(tmp_path / "v.safetensors", policy, thickness=8, size=32)
    assert (found.kind, found.dims, found.size, found.encoder.in_slices) == ("unet3d", 3, 32, 8)
    slab = torch.rand(2, 8, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(found.encoder(slab), network(slab[:, None]).mean(2))
        assert list(named_stages(found.encoder)) == [f"blocks.{n}" for n in range(4)]
        assert found.judged(1, policy)(slab).shape == found.encoder(slab).shape
    with pytest.raises(SettingsError, match="multiple of 8"):
        load_candidate(tmp_path / "v.safetensors", policy, thickness=12)


def test_what_is_no_encoder_is_explained(policy, tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        load_candidate(tmp_path / "none.safetensors", policy)
    encoder = build_encoder("feature-bank")
    save_bundle(tmp_path / "p.safetensors", module_bundle("propagator", "feature-bank", encoder, {}))
    with pytest.raises(WeightsError, match="hold no encoder"):
        load_candidate(tmp_path / "p.safetensors", policy)
    with pytest.raises(SettingsError, match="multiple of 8"):
        load_candidate("default", policy, size=100)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path, policy):
    names = []
    for folder in ("simclr", "byol"):
        (tmp_path / folder).mkdir()
        encoder = build_encoder("slice-resnet", width=8, channels=32)
        path = tmp_path / folder / "encoder.safetensors"
        save_bundle(path, module_bundle("encoder", "slice-resnet", encoder, {}))
        names.append(path)
    shown = [c.name for c in load_candidates([*names, "none"], policy)]
    assert shown == ["simclr/encoder.safetensors", "byol/encoder.safetensors", "none"]
