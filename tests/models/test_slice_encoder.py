"""The default slice encoder and the contract of all encoders."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import Encoder, build_encoder, encoders
from napari_medssl.models.slice_encoder import body_coordinates

SMALL = {"slice-resnet": {"width": 8, "channels": 16}}
build_encoder("slice-resnet")  # registers every encoder of the package


# Of the large ones the smallest stands for all: they differ in depth alone.
@pytest.fixture(params=[n for n in encoders if n not in ("resnet50-s8", "resnet101-s8")])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoder(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_encoder(name, **SMALL.get(name, {}))


def images(encoder: torch.nn.Module, *shape: int) -> Tensor:
    return torch.rand(shape[0], int(encoder.in_slices), *shape[1:], generator=torch.Generator().manual_seed(3))  # type: ignore[arg-type]


def test_an_encoder_says_what_it_takes_and_gives(encoder: torch.nn.Module) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.in_slices % 2 == 1
    assert not encoder.training
    with torch.inference_mode():
        features = encoder(images(encoder, 2, 64, 48))
    assert features.shape == (2, encoder.channels, 64 // encoder.stride, 48 // encoder.stride)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_slices_of_a_batch_do_not_see_each_other(encoder: torch.nn.Module) -> None:
    batch = images(encoder, 3, 48, 48)
    with torch.inference_mode():
        together, alone = encoder(batch), encoder(batch[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)


def test_the_config_builds_the_same_architecture_through_json(name: str, encoder: torch.nn.Module) -> None:
    again = build_encoder(name, **json.loads(json.dumps(encoder.config)))
    shapes = {k: v.shape for k, v in encoder.state_dict().items()}
    assert {k: v.shape for k, v in again.state_dict().items()} == shapes
    again.load_state_dict(encoder.state_dict())
    with torch.inference_mode():
        batch = images(encoder, 1, 32, 32)
        torch.testing.assert_close(again(batch), encoder(batch))


def test_an_empty_slice_gives_finite_features(encoder: torch.nn.Module) -> None:
    with torch.inference_mode():
        assert encoder(torch.zeros_like(images(encoder, 1, 32, 32))).isfinite().all()


def test_an_encoder_is_found_by_name_in_a_fresh_process() -> None:
    code = (
        "from napari_medssl.models.encoder import build_encoder\n"
        "print(build_encoder('slice-resnet', width=8, channels=16).channels)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "16"


def test_an_unknown_encoder_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no encoder is called 'vgg'; choose one of: .*slice-resnet"):
        build_encoder("vgg")


def test_shipped_parameter_names_and_size() -> None:
    # Weights on disk are tied to these names: a renamed layer makes them useless.
    state = build_encoder("slice-resnet").state_dict()
    assert {k.split(".")[0] for k in state} == {"stem", "stage2", "stage3", "fine", "coarse", "merge", "out"}
    assert state["stem.0.weight"].shape == (32, 5, 5, 5)
    assert sum(v.numel() for v in state.values()) == 1588_576


def test_every_parameter_learns() -> None:
    encoder = build_encoder("slice-resnet", **SMALL["slice-resnet"]).train()
    encoder(images(encoder, 2, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def body(height: int = 48, width: int = 64) -> Tensor:
    """(1, H, W): an ellipse of tissue in air."""
    ys, xs = torch.arange(height)[:, None], torch.arange(width)[None]
    inside = ((ys - 20) / 14.0) ** 2 + ((xs - 30) / 20.0) ** 2 < 1
    return (0.6 * inside).float()[None]


def test_body_coordinates_run_from_minus_one_to_one_along_each_axis() -> None:
    place = body_coordinates(body())
    assert place.shape == (1, 2, 48, 64)
    assert (place.diff(dim=2)[:, 0] >= 0).all()
    assert (place.diff(dim=3)[:, 1] >= 0).all()
    assert (place.diff(dim=3)[:, 0] == 0).all()  # y does not change along a row
    assert (place[0, :, -1, -1] == 1).all()
    # The middle of the body is near 0 although it is not in the middle of the image.
    assert place[0, :, 20, 30].abs().max() < 0.1


@pytest.mark.parametrize("shift", [(5, -8), (-6, 12)])
def test_body_coordinates_follow_the_body_not_the_field_of_view(shift: tuple[int, int]) -> None:
    image = body()
    moved = torch.roll(image, shift, (1, 2))
    before = body_coordinates(image)[0, :, 10:30, 14:46]
    after = body_coordinates(moved)[0, :, 10 + shift[0] : 30 + shift[0], 14 + shift[1] : 46 + shift[1]]
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)


def test_body_coordinates_do_not_change_with_padding() -> None:
    image = body()
    padded = torch.nn.functional.pad(image, (16, 24, 8, 40))
    inner = body_coordinates(padded)[0, :, 8 + 10 : 8 + 30, 16 + 14 : 16 + 46]
    torch.testing.assert_close(inner, body_coordinates(image)[0, :, 10:30, 14:46], atol=2e-3, rtol=0)


def test_an_empty_slice_has_image_coordinates() -> None:
    place = body_coordinates(torch.zeros(1, 4, 8))
    torch.testing.assert_close(place[0, 0, :, 0], torch.tensor([-0.5, 0, 0.5, 1.0]))
    torch.testing.assert_close(place[0, 1, 0], torch.linspace(-0.75, 1, 8))
