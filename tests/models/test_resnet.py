"""Dilated ResNets: sizes, dilation, channels, and published weights by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_medssl.errors import WeightsError
from napari_medssl.models import resnet
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.published_weights import load_published


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "backbone", "reduced"),
    # Published sizes: 11,689,512, 25,557,032 and 44,549,160 with a 1000-class layer of 513,000 or 2,049,000.
    [("resnet18-s8", 11_176_512, 512), ("resnet50-s8", 23_508_032, 2048), ("resnet101-s8", 42_500_160, 2048)],
)
def test_sizes_are_the_published_ones(name: str, backbone: int, reduced: int) -> None:
    assert parameters(build_encoder(name)) == backbone + 256 * reduced


def test_the_published_encoder_gives_256_by_32_by_32() -> None:
    with torch.inference_mode():
        assert build_encoder("resnet101-s8")(torch.rand(1, 1, 256, 256)).shape == (1, 256, 32, 32)


def test_dilation_in_the_last_two_stages_follows_torchvision() -> None:
    encoder = build_encoder("resnet50-s8")
    middle = {
        name: module
        for name, module in encoder.named_modules()
        if name.endswith("conv2") and isinstance(module, nn.Conv2d)
    }
    assert middle["layer2.0.conv2"].stride == (2, 2)
    for stage, first, rest in (("layer3", 1, 2), ("layer4", 2, 4)):
        assert middle[f"{stage}.0.conv2"].stride == (1, 1)
        assert middle[f"{stage}.0.conv2"].dilation == (first, first)
        assert middle[f"{stage}.1.conv2"].dilation == (rest, rest)


def test_one_slice_is_repeated_and_neighbours_replace_the_copies() -> None:
    torch.manual_seed(0)
    alone, three = build_encoder("resnet18-s8", in_slices=1), build_encoder("resnet18-s8", in_slices=3)
    three.load_state_dict(alone.state_dict())
    image = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(alone(image), three(image.expand(1, 3, 32, 32)))
        assert not torch.equal(alone(image), three(torch.cat([image, image, image.flip(3)], 1)))


def test_even_context_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        resnet.resnet18(in_slices=2)


# --- published weights ----------------------------------------------------------------------------------------------


def deeplab_like(encoder: nn.Module) -> dict[str, Tensor]:
    """A state dict with the names a torchvision DeepLabv3 has, and other values than the encoder's."""
    state = {f"backbone.{k}": v + 1 for k, v in encoder.state_dict().items() if not k.startswith("reduce")}
    state["classifier.0.convs.0.0.weight"] = torch.zeros(256, 2048, 1, 1)
    state["aux_classifier.4.bias"] = torch.zeros(21)
    return state


def test_deeplab_weights_load_by_name(tmp_path: Path) -> None:
    encoder = build_encoder("resnet18-s8", width=8)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    torch.save(deeplab_like(encoder), tmp_path / "coco.pth")
    report = load_published(encoder, tmp_path / "coco.pth")
    after = encoder.state_dict()
    assert torch.equal(after["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"] + 1)
    assert torch.equal(after["layer3.0.downsample.1.running_var"], before["layer3.0.downsample.1.running_var"] + 1)
    assert torch.equal(after["reduce.weight"], before["reduce.weight"])
    assert report.missing == ("reduce.weight",)
    assert report.misshapen == report.unknown == ()
    assert report.ignored == ("aux_classifier.4.bias", "classifier.0.convs.0.0.weight")
    assert len(report.matched) == len([k for k in before if "num_batches" not in k]) - 1
    assert "1 not in the file (reduce.weight)" in report.sentence()


def test_plain_resnet_files_and_safetensors_load_too(tmp_path: Path) -> None:
    encoder = build_encoder("resnet18-s8", width=8)
    state = {k.removeprefix("backbone."): v for k, v in deeplab_like(encoder).items() if "classifier" not in k}
    state |= {"fc.weight": torch.zeros(1000, 64), "extra.weight": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "wrapped.pt")
    report = load_published(encoder, tmp_path / "wrapped.pt")
    assert report.ignored == ("fc.weight",)
    assert report.unknown == ("extra.weight",)
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "plain.safetensors")
    assert load_published(encoder, tmp_path / "plain.safetensors") == report


def test_misshapen_entries_are_named_and_kept(tmp_path: Path) -> None:
    encoder = build_encoder("resnet18-s8", width=8, in_slices=5)
    torch.save(deeplab_like(build_encoder("resnet18-s8", width=8)), tmp_path / "coco.pth")
    before = encoder.state_dict()["conv1.weight"].clone()
    report = load_published(encoder, tmp_path / "coco.pth")
    assert report.misshapen == ("conv1.weight",)
    assert torch.equal(encoder.state_dict()["conv1.weight"], before)
    assert "of another shape (conv1.weight)" in report.sentence()


class Exploit:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("exploited"),)


def test_bad_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = build_encoder("resnet18-s8", width=8)
    with pytest.raises(WeightsError, match="no weights file"):
        load_published(encoder, tmp_path / "none.pth")
    (tmp_path / "junk.pth").write_bytes(b"not weights at all")
    (tmp_path / "junk.safetensors").write_bytes(b"not weights at all")
    torch.save({"a": Exploit()}, tmp_path / "code.pth")
    for name in ("junk.pth", "junk.safetensors", "code.pth"):
        with pytest.raises(WeightsError, match="cannot read"):
            load_published(encoder, tmp_path / name)
    assert not (tmp_path / "exploited").exists()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        load_published(encoder, tmp_path / "list.pth")
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="nothing in"):
        load_published(encoder, tmp_path / "other.pth")
