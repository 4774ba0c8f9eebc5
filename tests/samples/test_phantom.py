"""The phantom has the anatomy, the contrast and the reproducibility that samples and tests rely on."""

import numpy as np
import pytest
from scipy import ndimage

from napari_medssl.samples import phantom as module
from napari_medssl.samples.anatomy import ORGANS, VALUES
from napari_medssl.samples.phantom import phantom
from napari_medssl.samples.tissue import TISSUES

SMALL = (20, 96, 96)


def ras_of(labels, organ):
    """(N, 3) right, anterior, superior mm of an organ's voxels."""
    index = np.argwhere(labels.data == VALUES[organ])
    return index @ labels.affine[:3, :3].T + labels.affine[:3, 3]


@pytest.fixture(scope="module")
def ct():
    return phantom("CT", shape=SMALL)


@pytest.mark.parametrize("seed", range(6))
def test_organs_lie_on_their_sides_in_every_patient(seed):
    _, labels = phantom("CT", shape=SMALL, seed=seed, noise=0)
    place = {organ: ras_of(labels, organ).mean(0) for organ in VALUES}
    right, anterior, superior = 0, 1, 2
    assert place["liver"][right] > 25
    assert place["right kidney"][right] > 40
    assert place["left kidney"][right] < -40
    assert place["spleen"][right] < -60
    assert place["stomach"][right] < -20
    assert place["aorta"][right] < place["inferior vena cava"][right]
    assert place["spine"][anterior] < place["aorta"][anterior] < place["stomach"][anterior]
    assert place["right kidney"][superior] < place["spleen"][superior]
    assert place["left kidney"][superior] < place["spleen"][superior]
    assert ras_of(labels, "liver")[:, right].min() < -15, "the left lobe crosses the midline"


@pytest.mark.parametrize("seed", range(6))
def test_volumes_are_those_of_adults(seed):
    _, labels = phantom("MR", shape=SMALL, seed=seed, noise=0)
    ml = {o.name: (labels.data == o.value).sum() * labels.voxel_ml for o in ORGANS}
    assert 800 < ml["liver"] < 1900
    assert 90 < ml["right kidney"] < 230
    assert 90 < ml["left kidney"] < 230
    assert 70 < ml["spleen"] < 300


@pytest.mark.parametrize("organ", ["liver", "right kidney", "left kidney", "spleen", "aorta", "spine"])
def test_an_organ_is_one_piece(ct, organ):
    mask = ct[1].data == VALUES[organ]
    sizes = np.bincount(ndimage.label(mask, np.ones((3, 3, 3)))[0].ravel())[1:]
    assert sizes.max() > 0.95 * mask.sum()


def test_the_liver_is_no_ellipsoid(ct):
    mask = ct[1].data == VALUES["liver"]
    index = np.argwhere(mask) - np.argwhere(mask).mean(0)
    covariance = np.cov(index.T)
    inside = np.einsum("ni,ij,nj->n", index, np.linalg.inv(covariance), index) <= 5
    assert inside.mean() < 0.95, "a solid ellipsoid has all its points within five variances"


def test_ct_numbers_follow_the_tissue_table(ct):
    image, labels = ct
    for organ, tissue in (("liver", "liver"), ("spleen", "spleen"), ("aorta", "artery")):
        core = ndimage.binary_erosion(labels.data == VALUES[organ])
        assert np.median(image.data[core]) == pytest.approx(TISSUES[tissue].ct, abs=8)
    assert image.data.dtype == np.int16
    assert image.modality == "CT"
    assert image.data[:, :3, :3].mean() < -990


def test_ct_noise_is_correlated_between_neighbours_in_a_slice(ct):
    clean = phantom("CT", shape=SMALL, noise=0)[0].data
    noise = (ct[0].data - clean)[:, :20, :].astype(float)
    assert np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1] > 0.3
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.05


def test_mr_air_is_rician_and_the_bias_field_is_smooth():
    image, _ = phantom("MR", shape=SMALL)
    sigma, air = 12.0, TISSUES["air"].mr
    corner = image.data[:, :4, :].astype(float)
    assert np.mean(corner**2) == pytest.approx(2 * sigma**2 + air**2, rel=0.1), "second moment of a Rice distribution"
    clean, biased = (phantom("MR", shape=SMALL, noise=0, bias=b)[0].data.astype(float) for b in (0, 1))
    body = clean > 50
    ratio = biased[body] / clean[body]
    assert ratio.min() > 0.6
    assert ratio.max() < 1.6
    assert ratio.std() > 0.05


def test_partial_volume_gives_edges_values_in_between():
    image, labels = phantom("CT", shape=SMALL, noise=0)
    lung_to_liver = (image.data > -800) & (image.data < -200)
    assert lung_to_liver.mean() > 0.01, "only blended edges have such values"
    assert labels.data.dtype == np.uint8


def test_seeds_are_patients_and_equal_seeds_are_equal():
    (a, la), (b, lb), (c, lc) = (phantom("MR", shape=SMALL, seed=s) for s in (3, 3, 4))
    assert a.content_hash == b.content_hash
    assert np.array_equal(la.data, lb.data)
    liver = VALUES["liver"]
    overlap = (
        2 * ((la.data == liver) & (lc.data == liver)).sum() / ((la.data == liver).sum() + (lc.data == liver).sum())
    )
    assert 0.5 < overlap < 0.97
    assert a.content_hash != c.content_hash


def test_the_slabs_it_is_drawn_in_do_not_show(monkeypatch):
    whole = phantom("CT", shape=SMALL, noise=0)
    monkeypatch.setattr(module, "_SLAB_VOXELS", 5 * 96 * 96)
    pieces = phantom("CT", shape=SMALL, noise=0)
    assert np.array_equal(whole[1].data, pieces[1].data)
    assert np.abs(whole[0].data.astype(int) - pieces[0].data).max() <= 1


def test_a_tiny_shape_still_has_every_organ():
    image, labels = phantom("CT", shape=(8, 48, 48))
    assert image.shape == (8, 48, 48)
    assert set(np.unique(labels.data)) == {0, *VALUES.values()}


def test_a_given_spacing_crops_around_the_middle():
    image, labels = phantom("CT", shape=(10, 64, 64), spacing_mm=(5.0, 1.5, 1.5))
    assert image.spacing_mm == pytest.approx((5.0, 1.5, 1.5))
    centre = image.affine @ (4.5, 31.5, 31.5, 1)
    assert centre[:3] == pytest.approx((0, 0, 0), abs=1e-4)
    assert (labels.data == VALUES["spine"]).any()
    assert image.data.min() > -1024


@pytest.mark.parametrize("bad", [{"shape": (0, 8, 8)}, {"spacing_mm": (1.0, -1.0, 1.0)}])
def test_impossible_grids_are_refused(bad):
    with pytest.raises(ValueError, match="must be positive"):
        phantom("CT", **bad)


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="choose 'CT' or 'MR'"):
        phantom("PET")
