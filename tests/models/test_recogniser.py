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


def test_sets_are_looked_for_in_slices_up_to_twice_as_large_as_they_taught_or_half() -> None:
    network = StructureUNet(**OPTIONS, fields_mm={"abdomen": [300, 400]})
    assert network.groups_for(149) == network.groups_for(801) == ["heart"]  # of which no field is known
    assert network.groups_for(151) == network.groups_for(799) == ["abdomen", "heart"]
    assert StructureUNet(**network.config).groups_for(149) == ["heart"]
    assert StructureUNet(**OPTIONS).groups_for(5) == ["abdomen", "heart"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"knee": [100, 200]}, "'knee', the structures are of abdomen, heart"),
        ({"heart": [200, 100]}, "least and the greatest side in mm"),
        ({"heart": [100]}, "least and the greatest side in mm"),
    ],
)
def test_fields_that_are_none_are_refused(fields: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StructureUNet(**OPTIONS, fields_mm=fields)


def test_an_unknown_recogniser_is_refused() -> None:
    with pytest.raises(SettingsError, match="structure-unet"):
        build_recogniser("no-such-net")
