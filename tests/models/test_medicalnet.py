"""MedicalNet's ResNets as encoders."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import GeometryError, SettingsError, WeightsError
from napari_medssl.models.encoder3d import VolumeEncoder, build_encoder3d
from napari_medssl.models.medicalnet import MedicalNet, medicalnet_from


@pytest.mark.parametrize(("depth", "last"), [(10, 64), (18, 64), (50, 256)])
def test_stages_have_the_published_strides(depth, last):
    net = build_encoder3d("medicalnet", depth=depth, width=0.125)
    assert isinstance(net, VolumeEncoder)
    with torch.inference_mode():
        stages = net.stages(torch.rand(1, 1, 32, 64, 32))
        assert torch.equal(stages[-1], net(torch.rand(1, 1, 32, 64, 32)) * 0 + stages[-1])
    assert [tuple(s.shape[2:]) for s in stages] == [(8, 16, 8), (4, 8, 4), (2, 4, 2), (1, 2, 1)]
    assert stages[-1].shape[1] == net.channels == last


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="10, 18, 34, 50"):
        MedicalNet(depth=11)
    with pytest.raises(GeometryError, match="multiple of 32"):
        MedicalNet(depth=10, width=0.125)(torch.rand(1, 1, 16, 32, 32))


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_published_file_is_loaded_by_its_names(tmp_path, prefix):
    torch.manual_seed(3)
    stored = MedicalNet(depth=10).net.state_dict()
    file = {f"{prefix}{name}": tensor for name, tensor in stored.items()}
    file[f"{prefix}conv_seg.0.weight"] = torch.zeros(3)
    path = tmp_path / "resnet_10_23dataset.pth"
    torch.save({"state_dict": file}, path)
    net, report = medicalnet_from(path)
    assert net.config["depth"] == 10
    assert not report.missing
    assert not report.unknown
    assert report.ignored == ("conv_seg.0.weight",)
    assert all(torch.equal(t, stored[n]) for n, t in net.net.state_dict().items())


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"layer1.0.conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="blocks 1-0-0-0"):
        medicalnet_from(path)
    half = {n: t for n, t in MedicalNet(depth=10).net.state_dict().items() if not n.startswith("bn1")}
    torch.save(half, path)
    with pytest.raises(WeightsError, match="not in the file"):
        medicalnet_from(path)
    with pytest.raises(WeightsError, match="no weights file"):
        medicalnet_from(tmp_path / "none.pth")
