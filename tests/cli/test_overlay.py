"""The picture shows the organs in their colours, the slices in millimetres and what was labelled."""

import numpy as np
import pytest
from PIL import Image

from napari_medssl.cli.overlay import overlay, save_overlay
from napari_medssl.errors import FormatError
from napari_medssl.samples.phantom import phantom


@pytest.fixture(scope="module")
def scan():
    return phantom("MR", shape=(8, 48, 48))


def test_a_slice_has_square_millimetres(scan):
    image, labels = phantom("MR", shape=(4, 40, 20), spacing_mm=(50.0, 4.0, 8.0))
    picture = overlay(image, labels, n_slices=2)
    assert picture.width == 2 * 300, "40 x 4 mm and 20 x 8 mm are both 160 mm"
    image, labels = phantom("MR", shape=(4, 40, 20), spacing_mm=(50.0, 4.0, 4.0))
    assert overlay(image, labels, n_slices=2).width == 2 * 150


def test_organs_are_tinted_in_their_colours(scan):
    image, labels = scan
    pixels = np.asarray(overlay(image, labels, n_slices=8)).reshape(-1, 3)
    for organ in labels.labels[:4]:
        assert (np.abs(pixels.astype(int) - organ.color).max(1) <= 3).any(), organ.name
    grey = np.asarray(overlay(image, image.like(np.zeros(image.shape, np.uint8)), n_slices=2)).astype(int)
    assert (grey.max(-1) == grey.min(-1)).all(), "without organs nothing is coloured"


def test_labelled_slices_are_marked(scan):
    image, labels = scan
    plain, marked = (np.asarray(overlay(image, labels, labelled=m)) for m in ({}, {1: (4,)}))
    yellow = (marked[..., 0] > 200) & (marked[..., 1] > 200) & (marked[..., 2] < 60)
    assert yellow.sum() > ((plain[..., 0] > 200) & (plain[..., 1] > 200) & (plain[..., 2] < 60)).sum()


def test_slices_that_were_missed_are_shown(scan):
    image, labels = scan
    half = labels.data.copy()
    half[:4] = 0  # a result that stops too early
    few = overlay(image, image.like(half, labels.labels), n_slices=8)
    all_ = overlay(image, image.like(half, labels.labels), truth=labels.data, n_slices=8)
    assert few.height < all_.height, "four slices fill one row, eight fill two"


def test_the_picture_is_written_whole_or_not_at_all(scan, tmp_path):
    save_overlay(tmp_path / "o.png", *scan, truth=scan[1].data)
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.format == "PNG"
    with pytest.raises(FormatError, match="does not exist"):
        save_overlay(tmp_path / "none" / "o.png", *scan)
    assert [p.name for p in tmp_path.iterdir()] == ["o.png"]
