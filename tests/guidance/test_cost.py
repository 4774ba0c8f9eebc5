"""The price of labels is the guide's arithmetic."""

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.guidance import annotation_cost


def test_medical_labels_cost_three_to_five_times_as_much():
    general = annotation_cost("segmentation", 200, medical=False)
    assert (general.low, general.high) == (168.0, 600.0)
    medical = annotation_cost("segmentation", 200)
    assert (medical.low, medical.high) == (3 * 168.0, 5 * 600.0)
    assert str(medical).startswith("200 x segmentation of medical images: 504.00 to 3,000.00 US dollars")


def test_an_open_price_stays_open():
    cost = annotation_cost("polygon", 10, medical=False)
    assert (cost.low, cost.high) == (0.4, None)
    assert "0.40 and more" in str(cost)
    assert annotation_cost("box", 0).high == 0.0


def test_mistakes_are_sentences():
    with pytest.raises(SettingsError, match="no price is known for 'voxel'; choose one of: box"):
        annotation_cost("voxel", 3)
    with pytest.raises(SettingsError, match="must be at least 0"):
        annotation_cost("box", -1)
