"""Splitting masks at their necks, and following the pieces."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.oneshot.blob_features import FEATURES, Kept, blob_features
from napari_medssl.oneshot.blobs import Reference, blob_slices, reference, split_blobs

MM = (1.0, 1.0)


def disc(centre: tuple[float, float], radius: float, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    y, x = np.indices(shape)
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def test_two_touching_discs_are_two_blobs_one_disc_is_one() -> None:
    first, second = disc((30, 20), 12), disc((30, 42), 12)
    labels = split_blobs(first | second, MM)
    assert labels.max() == 2
    assert len(np.unique(labels[first & ~second])) == 1
    for mask in (first, second):
        part = labels[mask]
        assert (part == np.bincount(part).argmax()).mean() > 0.95
    assert split_blobs(first, MM).max() == 1
    assert np.array_equal(labels > 0, first | second)


def test_a_neck_is_a_neck_in_mm_not_in_pixels() -> None:
    mask = disc((30, 20), 12) | disc((30, 42), 12)
    assert split_blobs(mask, (0.05, 0.05)).max() == 1  # a millimetre across: no neck of a millimetre and a half
    assert not split_blobs(np.zeros((9, 9), bool), MM).any()


def known() -> Reference:
    image = np.where(disc((30, 20), 12), 0.6, 0.2)
    image[28:32] += 0.05
    return reference(image, 10, disc((30, 20), 12))


def way() -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """The organ ends after two slices; a darker neighbour appears on the first and goes on for four."""
    organ, other = disc((30, 20), 11), disc((30, 42), 12)
    masks = [organ | other, organ | other, other, other]
    images = [np.where(organ, 0.6, np.where(other, 0.4, 0.2)) for _ in masks]
    return images, [m.astype(float) * 0.9 for m in masks], [11, 12, 13, 14]


def test_branches_tell_what_becomes_of_a_blob() -> None:
    found = blob_slices(*way(), known(), MM)
    assert [b.count for b in found] == [2, 2, 1, 1]
    first = found[0]
    organ, other = (int(first.labels[30, x]) - 1 for x in (20, 50))
    assert first.branch[organ, 0] == 2
    assert first.branch[other, 0] == 4
    assert first.branch[other, 1] == sum(b.area[int(b.labels[30, 50]) - 1] for b in found)
    assert first.parent[organ] == 1  # over the labelled mask
    assert found[1].parent.tolist() == [first.labels[30, 20], first.labels[30, 50]] or found[1].count == 2
    assert first.mean[organ] == pytest.approx(0.6, abs=0.02)
    assert first.mean[other] == pytest.approx(0.4, abs=0.02)
    assert len(first.contacts[organ]) == len(first.contacts[other]) > 0


def test_features_say_what_their_names_say() -> None:
    images, maps, zs = way()
    reference_, found = known(), blob_slices(images, maps, zs, known(), MM)
    kept = Kept(reference_.mask, reference_.mask)
    rows = blob_features(found[0], images[0], kept, reference_, (5.0, 1.0, 1.0))
    assert rows.shape == (2, len(FEATURES))
    organ, other = (dict(zip(FEATURES, rows[int(found[0].labels[30, x]) - 1], strict=True)) for x in (20, 50))
    assert organ["overlap"] > 0.98
    assert other["overlap"] < 0.1
    assert organ["footprint"] == pytest.approx(organ["overlap"])  # the labelled slice is the one before
    assert organ["rival"] == pytest.approx(other["cover"])
    assert other["brightness"] < organ["brightness"]
    assert other["difference"] == -other["brightness"]
    assert organ["share"] + other["share"] == pytest.approx(1)
    assert organ["branch share"] + other["branch share"] <= 1.0 + 1e-9 or organ["branch share"] == 1.0
    assert other["reach"] == pytest.approx(4 * 5 / 50)
    assert organ["distance"] == pytest.approx(5 / 50)
    assert organ["step"] == 1.0
    assert organ["probability"] == pytest.approx(0.9)
    assert organ["blobs"] == 2
    assert np.abs(rows).max() <= 9


def test_what_was_kept_last_stays_where_nothing_is_kept() -> None:
    mask = disc((30, 20), 5)
    kept = Kept(mask, mask)
    kept.add(np.zeros_like(mask))
    assert kept.last is mask
    other = disc((30, 40), 5)
    kept.add(other)
    assert kept.last is other
    assert np.array_equal(kept.ever, mask | other)


def test_every_piece_is_a_blob_however_thin() -> None:
    mask = disc((30, 20), 10)
    mask[5, 50:60] = True
    mask[50:58, 70] = True
    labels = split_blobs(mask, MM)
    assert labels.max() == 3
    assert np.array_equal(labels > 0, mask)
