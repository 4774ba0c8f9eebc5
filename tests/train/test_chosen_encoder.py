"""Encoders from settings: built as asked, refused with a reason."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.train.chosen_encoder import chosen_encoder


def test_the_options_reach_the_encoder() -> None:
    encoder = chosen_encoder("slice-resnet", '{"width": 8, "channels": 16, "in_slices": 1}', size=32)
    assert encoder.training
    assert encoder.config == {"in_slices": 1, "width": 8, "channels": 16, "input_size": 32}
    assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, 16, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slice-resnet", "{", "encoder_options is no JSON"),
        ("slice-resnet", "[1]", "must be a JSON object"),
        ("slice-resnet", '{"depth": 3}', "do not fit slice-resnet"),
        ("nonsense", "{}", "no encoder is called 'nonsense'"),
        ("feature-bank", "", "nothing to train"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        chosen_encoder(name, options, size=32)
