"""Features are those of the encoder, and what is learned from them."""

import numpy as np
import pytest
import torch

from napari_medssl.evaluate.embed import embed_examples, embed_slices, stack
from napari_medssl.evaluate.exams import exams
from napari_medssl.evaluate.presence import presence
from napari_medssl.evaluate.probe import linear_probe
from napari_medssl.evaluate.protocols import learn_frozen, neighbours
from napari_medssl.evaluate.slab import SlabEncoder
from napari_medssl.progress import finish


def test_features_are_means_of_the_encoders_grid(scans, candidate, policy):
    examples = presence(scans, slices_per_scan=3)
    found = finish(embed_examples(candidate.encoder, scans, examples, policy))
    assert found.shape == (18, 16)
    image = torch.from_numpy(scans[1].image[examples.slices[4][0]]).float()[None, None] / 255
    np.testing.assert_allclose(found[4], candidate.encoder(image).mean((2, 3))[0], atol=1e-5)


def test_exams_are_mean_and_maximum_over_slices(scans, candidate, policy, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("file,group\n" + "".join(f"scan_{n}.nii.gz,g{n % 2}\n" for n in range(6)))
    examples = exams(scans, path, slices_per_scan=4)
    found = finish(embed_examples(candidate.encoder, scans, examples, policy))
    slices = finish(embed_slices(candidate.encoder, scans, [(2, int(z)) for z in examples.slices[2]], policy))
    np.testing.assert_allclose(found[2], np.concatenate([slices.mean(0), slices.max(0)]), atol=1e-6)


class Blocks(torch.nn.Module):
    """A stand-in for a volume encoder: means of blocks of 4 x 4 x 4."""

    channels, stride = 1, 4

    def __init__(self):
        super().__init__()
        self.config = {}

    def forward(self, volume):
        return torch.nn.functional.avg_pool3d(volume, 4)


def test_a_slab_shows_a_volume_encoder_the_neighbours(scans):
    slab = SlabEncoder(Blocks(), thickness=8)
    batch = stack(scans, [(0, 5), (1, 0)], slab.in_slices)
    assert batch.shape == (2, 8, 32, 32)
    found = slab(batch)
    assert found.shape == (2, 1, 8, 8)
    expected = torch.from_numpy(scans[0].image[1:9].astype(np.float32) / 255).view(8, 8, 4, 8, 4).mean((0, 2, 4))
    torch.testing.assert_close(found[0, 0], expected)


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 2)) < 0.5).astype(np.float32)
    return (np.pad(y * 4, ((0, 0), (0, 4))) + rng.normal(0, 1, (n, 6))).astype(np.float32), y


def test_probe_learns_several_labels_classes_and_numbers():
    (x, y), (u, v) = draw(200), draw(80, 1)
    several = linear_probe(x, y, u, kind="several")
    assert ((several > 0.5) == v).mean() > 0.95
    classes, other = (np.eye(4, dtype=np.float32)[(t @ [1, 2]).astype(int)] for t in (y, v))
    one = linear_probe(x, classes, u, kind="one")
    np.testing.assert_allclose(one.sum(1), 1, rtol=1e-5)
    assert (one.argmax(1) == other.argmax(1)).mean() > 0.9
    number = linear_probe(x, x[:, :1] * 2 - 1, u, kind="number")
    np.testing.assert_allclose(number, u[:, :1] * 2 - 1, atol=0.1)


def test_probe_of_labels_that_never_change():
    x, y = draw(20)
    y[:, 0], y[:, 1] = 1, 0
    assert linear_probe(x, y, x[:3], kind="several").tolist() == [[1, 0]] * 3
    assert linear_probe(x, y, x[:3], kind="one").tolist() == [[1, 0]] * 3


def test_balanced_probe_finds_more_of_the_rare():
    rng = np.random.default_rng(0)
    y = (rng.random((400, 1)) < 0.05).astype(np.float32)
    x = (y * 1.5 + rng.normal(0, 1, (400, 3))).astype(np.float32)
    plain, balanced = (linear_probe(x, y, x, kind="several", balanced=b) > 0.5 for b in (False, True))
    assert balanced[y == 1].mean() > plain[y == 1].mean() + 0.2


@pytest.mark.parametrize("resample", [False, True])
def test_each_label_is_made_rare_on_its_own(scans, resample):
    examples = presence(scans)
    seen = []

    def learner(train, targets, test):
        seen.append(targets.mean())
        return np.zeros((len(test), targets.shape[1]), np.float32)

    features, train = np.zeros((len(examples), 2), np.float32), np.arange(len(examples))
    told = learn_frozen(
        learner, features, examples, train=train, test=train[:7], ratio=0.1, resample=resample,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert told.shape == (7, 2)
    if resample:
        assert seen == pytest.approx([0.5, 0.5], abs=0.2)
    else:
        assert all(min(s, 1 - s) == pytest.approx(0.1 / 1.1, abs=0.02) for s in seen)


def test_neighbours_answer_in_the_shape_of_the_targets():
    x, y = draw(50)
    told = neighbours(5, "distance")(x, y, x[:4])
    assert told.shape == (4, 2)
    assert ((told > 0.5) == y[:4]).mean() > 0.8
