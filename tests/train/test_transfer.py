"""Encoder alone, encoder and decoder, never the decoder alone; and a report of every tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import Bundle, load_bundle, module_bundle, save_bundle
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.segmenter3d import Segmenter3d, load_segmenter
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.train.method import find_method
from napari_medssl.train.trainer import train_on
from napari_medssl.train.transfer import Pretrained, load_pretrained, transfer

WIDTH = 0.05


def network(**changes) -> Segmenter3d:
    torch.manual_seed(11)
    return Segmenter3d(**{"classes": 3, "width": WIDTH, **changes})


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an autoencoder without skip connections."""
    folder = tmp_path_factory.mktemp("autoencoder")
    method = find_method("autoencoder")
    small = replace(method.small, crop_z=8, crop_y=8, crop_x=16, width=WIDTH, skip=False)
    settings = replace(small, run=replace(small.run, steps=1, batch=2, validation_share=0.0, monitor_every=0))
    image = np.random.default_rng(0).integers(60, 255, (20, 20, 20), np.uint8)
    scan = Scan(image, None, (2.0, 2.0, 2.0), "s.nii.gz", "toy", "p")
    finish(train_on([scan], folder, method, settings))
    return folder


def test_the_encoder_is_carried_over_whole_and_the_rest_stays(run_folder):
    target, first = network(), network()
    report = transfer(target, load_pretrained(run_folder / "encoder3d.safetensors"))
    stored = load_bundle(run_folder / "encoder3d.safetensors").state("encoder3d")
    assert report.part == "encoder"
    assert set(report.keys) == {"encoder"}
    assert set(report.keys["encoder"].matched) == set(stored)
    assert not report.keys["encoder"].missing + report.keys["encoder"].unused + report.keys["encoder"].misshaped
    assert all(torch.equal(v, stored[k]) for k, v in target.encoder.state_dict().items())
    assert all(torch.equal(v, first.decoder.state_dict()[k]) for k, v in target.decoder.state_dict().items())
    numbers = sum(v.numel() for v in target.encoder.state_dict().values())
    assert report.share == pytest.approx(numbers / sum(v.numel() for v in target.state_dict().values()))
    assert report.notes == ()


def test_the_decoder_goes_along_when_asked_for(run_folder):
    pretrained = load_pretrained(run_folder)
    assert (pretrained.method, pretrained.skip, set(pretrained.parts)) == ("autoencoder", False, {"encoder", "decoder"})
    target = network(skip=False)
    report = transfer(target, pretrained, "encoder+decoder")
    decoder = report.keys["decoder"]
    assert {name for name, _, _ in decoder.misshaped} == {"head.weight", "head.bias"}  # another number of classes
    assert ("head.bias", (3,), (1,)) in decoder.misshaped
    kept = pretrained.parts["decoder"]
    assert all(torch.equal(target.decoder.state_dict()[k], kept[k]) for k in decoder.matched)
    assert (report.skip_before, report.skip_now) == (False, False)
    assert report.notes == (f"2 of {2 + len(decoder.matched)} tensors of the decoder keep their first values",)


def test_other_skip_connections_are_told(run_folder):
    report = transfer(network(skip=True), load_pretrained(run_folder), "encoder+decoder")
    assert (report.skip_before, report.skip_now) == (False, True)
    assert "trained without skip connections and the network is built with" in report.notes[-1]
    assert len(report.keys["decoder"].misshaped) > 2


def test_a_decoder_alone_or_one_that_is_not_there_is_refused(run_folder):
    with pytest.raises(SettingsError, match=r"never alone \(R-55"):
        transfer(network(), load_pretrained(run_folder), "decoder")
    with pytest.raises(SettingsError, match="choose one of encoder, encoder"):
        transfer(network(), load_pretrained(run_folder), "head")
    with pytest.raises(SettingsError, match="holds no decoder. Give the folder of a run"):
        transfer(network(), load_pretrained(run_folder / "encoder3d.safetensors"), "encoder+decoder")


def test_missing_unused_and_misshaped_tensors_are_named():
    given = dict(network().encoder.state_dict())
    given["blocks.0.0.weight"] = torch.zeros(1, 2, 3, 3, 3)
    given["extra"] = given.pop("blocks.1.1.bias")
    target, first = network(), network()
    report = transfer(target, Pretrained("synthetic", "unet3d", {}, {"encoder": given})).keys["encoder"]
    assert report.missing == ("blocks.1.1.bias",)
    assert report.unused == ("extra",)
    own = tuple(first.encoder.blocks[0][0].weight.shape)
    assert report.misshaped == (("blocks.0.0.weight", own, (1, 2, 3, 3, 3)),)
    assert torch.equal(target.encoder.blocks[0][0].weight, first.encoder.blocks[0][0].weight)


def test_weights_of_another_width_fit_nowhere(run_folder):
    with pytest.raises(WeightsError, match="nothing of the encoder .* same width"):
        transfer(network(width=0.1), load_pretrained(run_folder))


def test_what_holds_no_volume_encoder_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_bundle(path, Bundle({"propagator": {"name": "x", "config": {}}}, {"propagator.a": torch.zeros(1)}))
    with pytest.raises(WeightsError, match="no encoder of volumes, only: propagator"):
        load_pretrained(path)
    with pytest.raises(WeightsError, match="no segmentation network, only: propagator"):
        load_segmenter(path)


@pytest.mark.parametrize("skip", [True, False])
def test_the_network_is_stored_with_its_skip_connections(tmp_path, skip):
    made = network(skip=skip).eval()
    path = tmp_path / "network.safetensors"
    save_bundle(path, module_bundle("segmenter3d", "unet3d", made, {}))
    assert load_bundle(path).modules["segmenter3d"]["config"]["skip"] is skip
    again = load_segmenter(path)
    image = torch.rand(1, 1, 8, 16, 8)
    assert again(image).shape == (1, 3, 8, 16, 8)
    torch.testing.assert_close(again(image), made(image))


def test_two_classes_at_least():
    with pytest.raises(SettingsError, match="2 classes or more"):
        Segmenter3d(classes=1)
    assert build_encoder3d("unet3d", width=WIDTH).config["width"] == WIDTH
