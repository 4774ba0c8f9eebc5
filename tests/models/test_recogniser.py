"""A recogniser has channels for every data set, and sees slices at known distances."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.recogniser import StructureUNet, build_recogniser, context_offsets

STRUCTURES = {"abdomen": ["spleen", "liver"], "heart": ["cavity"]}
OPTIONS = {"structures": STRUCTURES, "features": [8, 8, 8, 8, 8, 8], "input_size": 32}


def test_every_set_has_a_background_and_its_structures() -> None:
    network = build_recogniser("structure-unet", **OPTIONS)
    assert network(torch.rand(2, 5, 32, 32)).shape == (2, 5, 32, 32)
    assert network.channels("abdomen") == slice(0, 3)
    assert network.channels("heart") == slice(3, 5)
    with pytest.raises(KeyError, match="brain"):
        network.channels("brain")


def test_its_configuration_builds_it_again() -> None:
    first = build_recogniser("structure-unet", **OPTIONS)
    again = StructureUNet(**first.config)
    again.load_state_dict(first.state_dict())
    slices = torch.rand(1, 5, 32, 32)
    torch.testing.assert_close(again.eval()(slices), first(slices))


def test_brightness_and_contrast_of_the_scanner_do_not_matter() -> None:
    network = build_recogniser("structure-unet", **OPTIONS)
    slices = 0.3 + 0.4 * torch.rand(1, 5, 32, 32)  # all above what counts as air
    torch.testing.assert_close(network(0.5 * slices + 0.2), network(slices), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("spacing", "offsets"), [(1.0, (-12, -6, 0, 6, 12)), (2.5, (-4, -2, 0, 2, 4)), (8.0, (-2, -1, 0, 1, 2))]
)
def test_slices_of_an_input_are_six_millimetres_apart_or_neighbours(spacing: float, offsets: tuple[int, ...]) -> None:
    assert context_offsets(spacing) == offsets


def test_an_unknown_recogniser_is_refused() -> None:
    with pytest.raises(SettingsError, match="structure-unet"):
        build_recogniser("no-such-net")
