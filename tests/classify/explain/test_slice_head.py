"""A head on its encoder gives, as one network, the scores it gives on vectors; its evidence lies on the block."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl.classify.explain import ExplainSettings, explain_head_steps, explain_sanity, faithfulness
from napari_medssl.classify.explain.slice_head import head_network, own_copy
from napari_medssl.classify.slices import (
    LearnSettings,
    SliceHead,
    learn_slices,
    several_classes,
    slice_vectors_steps,
)
from napari_medssl.classify.slices.bags import LARGER, BagScorer
from napari_medssl.engine import Engine
from napari_medssl.engine.encode import EncodeSettings
from napari_medssl.errors import SettingsError
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.heads import pooled
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.classify.explain.conftest import FULL
from tests.engine.conftest import write_weights

AFFINE = np.array([[0, 0, -2.0, 30], [0, -3.0, 0, 20], [5.0, 0, 0, -9], [0, 0, 0, 1]])
BRIGHT = range(5, 9)
WHERE = (slice(5, 9), slice(9, 17), slice(18, 30))


def scan(seed: int, *, bright: range = BRIGHT) -> Volume:
    """A textured ball of body with a bright bar on some of its 14 slices, always on the same side."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[:32, :48]
    body = ((y - 16) / 14) ** 2 + ((x - 24) / 22) ** 2 < 1
    data = rng.normal(60, 8, (14, 32, 48)) * body
    data[bright.start : bright.stop, 9:17, 18:30] += 130
    return Volume(data.clip(0).astype(np.float32), AFFINE, "MR")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    weights = write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", seed=3)
    with Engine("cpu", weights, encoding=EncodeSettings(FULL)) as made:
        yield made


def learned(engine: Engine, head: str, **options):
    volumes = {f"scan {n}": scan(n, bright=range(3 + n, 8 + n)) for n in range(3)}
    vectors = {name: finish(slice_vectors_steps(engine, v)) for name, v in volumes.items()}
    shown = {f"scan {n}": {z: ["bar"] if 3 + n <= z < 8 + n else [] for z in range(14)} for n in range(3)}
    settings = LearnSettings(head=head, members=2, **options)
    return learn_slices(vectors, several_classes(["bar"], shown), settings)


def of_exams(head: SliceHead, kind: str) -> SliceHead:
    """A head of exams that scores slices as a logistic one does."""
    line = head.scorer
    hidden = 0 if kind == "max" else 3
    empty = np.zeros((1, hidden, line.weight.shape[-1]), np.float32)
    scorer = BagScorer(line.weight[:1] / LARGER, line.bias[:1], empty, empty, np.zeros((1, 1, hidden), np.float32))
    return dataclasses.replace(head, name=kind, scorer=scorer)


@pytest.mark.parametrize("height", [True, False])
def test_the_network_gives_the_scores_of_the_head(engine, height):
    head, volume = learned(engine, "logistic", height=height), scan(7)
    vectors = finish(slice_vectors_steps(engine, volume))
    model, shown = head_network(engine.encoder, head, volume, vectors, encoding=engine.encoding, slices=[2, 6, 11])
    shown.before(range(3))
    with torch.inference_mode():
        scores = model(shown.inputs(range(3)))
    expected = head.scores(vectors).probability[[2, 6, 11]]
    np.testing.assert_allclose(scores.sigmoid().numpy(), expected, atol=0.02)  # cached features are half precision


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The encoder without training, on small slices: what it sees of a bright bar is sure to lie on it."""
    weights = tmp_path_factory.mktemp("weights") / "bank.safetensors"
    bank = build_encoder("feature-bank", input_size=64)
    save_bundle(weights, module_bundle("encoder", "feature-bank", bank, {}))
    with Engine("cpu", weights, encoding=EncodeSettings(FULL)) as made:
        yield made


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_the_evidence_lies_on_the_block(plain, kind):
    head, volume = learned(plain, kind), scan(7)
    found = finish(explain_head_steps(plain, head, volume, "bar"))
    assert found.evidence.shape == volume.shape
    data = found.evidence.data
    inside = np.zeros(volume.shape, bool)
    inside[WHERE] = True
    assert data[inside].mean() > 20 * data[~inside].mean()
    assert int(found.per_slice.argmax()) in BRIGHT
    assert found.report["class"] == {"number": 0, "name": "bar"}
    assert found.report["head"]["kind"] == kind
    assert "how high in the body" in found.report["notes"][-1]


@pytest.mark.parametrize("kind", ["attention", "max"])
def test_heads_of_exams_are_asked_slice_by_slice(plain, kind):
    """A slice's score is a line there too; how much it counts in the exam only dims it."""
    head, volume = learned(plain, "logistic"), scan(7)
    settings = ExplainSettings(weigh=False)
    expected, found = (
        finish(explain_head_steps(plain, h, volume, "bar", settings=settings)) for h in (head, of_exams(head, kind))
    )
    np.testing.assert_allclose(found.evidence.data, expected.evidence.data, atol=1e-4)


def network(engine: Engine, head: SliceHead, volume: Volume):
    vectors = finish(slice_vectors_steps(engine, volume))
    return head_network(engine.encoder, head, volume, vectors, encoding=engine.encoding, slices=[6, 7])


def test_occlusion_and_trust_work_on_heads_too(engine, plain):
    head, volume = learned(plain, "logistic"), scan(7)
    settings = ExplainSettings(method="occlusion", patch=0.25)
    found = finish(explain_head_steps(plain, head, volume, "bar", settings=settings, slices=[6]))
    z, y, x = found.report["peak"]["zyx"]
    assert z == 6
    assert 6 <= y < 20
    assert 14 <= x < 34
    areas = faithfulness(*network(plain, head, volume), target=0).facts()
    assert areas["deletion"] < areas["random_deletion"]
    model, shown = network(engine, learned(engine, "logistic"), volume)
    sanity = explain_sanity(model, shown, target=0)
    assert sanity.steps[0].part == "head"
    assert sanity.steps[-1].part == "encoder.stem"


def test_the_shared_encoder_is_not_hooked(engine):
    """Another engine with the same weights may be at work with the same module in another thread."""
    head, volume = learned(engine, "logistic"), scan(7)
    seen = []
    steps = explain_head_steps(engine, head, volume, "bar", settings=ExplainSettings(batch=2))
    for _ in steps:
        seen += [m for m in engine.encoder.modules() if m._forward_hooks]
    assert not seen
    copied = own_copy(engine.encoder)
    assert copied is not engine.encoder
    assert copied.out.weight is engine.encoder.out.weight


def test_mistakes_are_named(engine):
    head = learned(engine, "logistic")
    with pytest.raises(SettingsError, match="knows no class 'liver'; choose one of: bar"):
        finish(explain_head_steps(engine, head, scan(7), "liver"))
    with pytest.raises(IndexError, match="slices 0 to 13"):
        finish(explain_head_steps(engine, head, scan(7), "bar", slices=[14]))
    assert engine.features(scan(7)).data.shape[0] == 14, "the engine goes on after a mistake"


def test_a_trunk_of_patches_has_its_maps_on_the_patches():
    from napari_medssl.classify.explain.patches import join_patches, patch_maps

    class Pooled(torch.nn.Module):
        def __init__(self, encoder) -> None:
            super().__init__()
            self.encoder, self.head = encoder, torch.nn.Linear(encoder.channels, 1)

        def forward(self, images):
            return self.head(pooled(self.encoder(images)))

    torch.manual_seed(0)
    encoder = build_encoder("sslacl-trunk", width=0.03, patch_mode=True, patch=16, input_size=72)
    model = Pooled(encoder).eval()
    bare = torch.rand(1, 1, 72, 72) * 0.2
    marked = bare.clone()
    marked[:, :, 28:36, 54:60] = 1.0  # within the patch of the middle row, right column: rows 28-44, columns 52-68
    with torch.no_grad():
        model.head.weight.copy_(pooled(encoder(marked)) - pooled(encoder(bare)))
    maps = patch_maps(model, marked, target=0)
    assert maps.shape == (1, 72, 72)
    y, x = np.unravel_index(int(maps[0].argmax()), (72, 72))
    assert 26 <= y < 40
    assert 52 <= x < 64
    outside = torch.ones(72, 72, dtype=torch.bool)
    for row in range(3):
        for column in range(3):
            outside[row * 24 + 4 : row * 24 + 20, column * 24 + 4 : column * 24 + 20] = False
    assert not maps[0][outside].any()

    numbered = torch.arange(9.0).view(1, 9, 1, 1).expand(1, 9, 4, 4)
    moved = join_patches(numbered, (72, 72), 16, arrangement=(8, 1, 2, 3, 4, 5, 6, 7, 0))
    assert (moved[0, 12, 12], moved[0, 60, 60]) == (8, 0)
