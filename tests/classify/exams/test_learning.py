"""Learning from exams end to end: signs are found on people never seen, runs go on, answers repeat."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.classify.exams.crossval import cross_validate_steps
from napari_medssl.classify.exams.exam import Exam, ExamSet
from napari_medssl.classify.exams.learning import learn_steps
from napari_medssl.classify.exams.model import ExamModel, score_all
from napari_medssl.classify.exams.model_file import FORMAT, load_exam_model, save_exam_model
from napari_medssl.classify.exams.network import build_network, find_encoder
from napari_medssl.classify.exams.people import strangers
from napari_medssl.classify.exams.scans import load_exams
from napari_medssl.classify.exams.settings import KINDS, kind_named
from napari_medssl.classify.exams.split import divide_exams
from napari_medssl.classify.exams.training import Training, train_steps
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.metrics.classification import auc
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.progress import finish
from tests.classify.exams.planted import TINY, plant

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExamSet, dict]:
    exams = plant(tmp_path_factory.mktemp("exams"), planes=("coronal", "sagittal"))
    return exams, finish(load_exams(exams, 32))


@pytest.fixture(scope="module")
def learned(planted) -> tuple[ExamModel, object]:
    exams, scans = planted
    parts = divide_exams(exams, tuning=0.25, test=0.25)
    steps = learn_steps(
        exams, scans, TINY, source=find_encoder("first", TINY), train=parts.train, tuning=parts.tuning, device=CPU
    )
    return finish(steps), parts


def test_a_planted_sign_is_found_on_people_never_seen(planted, learned) -> None:
    exams, scans = planted
    model, parts = learned
    scores = finish(score_all(model, scans, parts.test, device=CPU))
    truth = exams.targets[parts.test, 0].astype(int)
    assert auc(truth, np.array([s.probability[0] for s in scores])).value > 0.9
    # The sign stands in the coronal plane only: that plane has the say.
    assert model.planes == ("coronal", "sagittal")
    assert model.votes[0, 0] > 0.6
    assert np.allclose(model.votes.sum(0), 1)
    spreads = np.array([s.spread[0] for s in scores])
    assert (spreads >= 0).all()
    assert spreads.max() > 0  # exams of more than four slices are seen in parts


def test_spread_is_zero_where_all_slices_are_seen(planted, learned) -> None:
    _, scans = planted
    model, parts = learned
    whole = replace(model, settings=replace(model.settings, test_sampling="all"))
    (score,) = finish(score_all(whole, scans, parts.test[:1], device=CPU))
    assert score.spread.tolist() == [0.0]


def test_a_missing_plane_leaves_the_vote_to_the_other(planted, learned) -> None:
    _, scans = planted
    model, parts = learned
    n = next(int(n) for n in parts.test if scans["sagittal"][n] is not None)
    score = finish(model.score_steps({"sagittal": scans["sagittal"][n]}, device=CPU))
    assert list(score.planes) == ["sagittal"]
    assert score.weights["sagittal"].tolist() == [1.0]
    with pytest.raises(SettingsError, match="knows coronal and sagittal"):
        finish(model.score_steps({"axial": scans["sagittal"][n]}, device=CPU))


def test_a_saved_classifier_says_the_same(planted, learned, tmp_path: Path) -> None:
    exams, scans = planted
    model, parts = learned
    save_exam_model(tmp_path / "head", model)
    again = load_exam_model(tmp_path / "head")
    before, after = (finish(score_all(m, scans, parts.test[:3], device=CPU)) for m in (model, again))
    assert [s.probability.tolist() for s in before] == [s.probability.tolist() for s in after]
    assert [s.answer.tolist() for s in before] == [s.answer.tolist() for s in after]
    assert sorted(strangers(exams, again.card)) == sorted(parts.test)
    assert "person-" not in (tmp_path / "head" / "head.json").read_text()


def test_a_saved_classifier_with_a_frozen_encoder_says_the_same(planted, tmp_path: Path) -> None:
    """Its encoder is written once for both planes, first weights or not."""
    exams, scans = planted
    settings = replace(TINY, mode="frozen", epochs=2, seed=3)
    parts = divide_exams(exams.only(range(16)), tuning=0.5, test=0.0)
    steps = learn_steps(
        exams,
        scans,
        settings,
        source=find_encoder("first", settings),
        train=parts.train,
        tuning=parts.tuning,
        device=CPU,
    )
    model = finish(steps)
    save_exam_model(tmp_path / "head", model)
    assert sorted(p.name for p in (tmp_path / "head").iterdir()) == [
        "encoder.safetensors", "head.json", "plane-0.safetensors", "plane-1.safetensors",
    ]  # fmt: skip
    again = load_exam_model(tmp_path / "head")
    before, after = (finish(score_all(m, scans, np.arange(20, 23), device=CPU)) for m in (model, again))
    assert [s.probability.tolist() for s in before] == [s.probability.tolist() for s in after]
    assert all(np.array_equal(b.planes[p], a.planes[p]) for b, a in zip(before, after, strict=True) for p in b.planes)


def test_a_classifier_refuses_other_formats_and_encoders(planted, tmp_path: Path) -> None:
    exams, scans = planted
    settings = replace(TINY, mode="frozen", epochs=1)
    numbers = np.arange(12)
    source = find_encoder("first", settings)
    one = {"coronal": scans["coronal"]}
    model = finish(learn_steps(exams, one, settings, source=source, train=numbers, tuning=numbers[:0], device=CPU))
    assert "0.5" in model.card["notes"][-1]
    save_exam_model(tmp_path / "head", model)
    other = build_network(source, settings, 1, seed=0, encoder_seed=99)
    from safetensors.torch import save_file

    save_file(other.encoder.state_dict(), tmp_path / "head" / "encoder.safetensors")
    with pytest.raises(
        WeightsError, match=r"trained on the encoder slice-resnet, first weights .*but encoder.safetensors is the file"
    ):
        load_exam_model(tmp_path / "head")
    facts = json.loads((tmp_path / "head" / "head.json").read_text())
    (tmp_path / "head" / "head.json").write_text(json.dumps(facts | {"format": "napari-medssl slice head 1"}))
    with pytest.raises(WeightsError, match=f"'napari-medssl slice head 1', not '{FORMAT}'"):
        load_exam_model(tmp_path / "head")
    with pytest.raises(WeightsError, match="holds no exam classifier"):
        load_exam_model(tmp_path)


def test_an_interrupted_run_gives_the_same_weights(planted, tmp_path: Path) -> None:
    exams, scans = planted
    settings = replace(TINY, epochs=2, augment="jigsaw", balance="oversample")
    source = find_encoder("first", settings)
    training = Training(list(scans["coronal"][:11]), exams.targets[:11], exams.kind, 1)

    def trained(stop: int) -> dict[str, torch.Tensor]:
        network = build_network(source, settings, 1, seed=0)
        state = tmp_path / f"{stop}.safetensors"
        steps = train_steps(network, training, settings, device=CPU, state=state)
        for _ in range(stop):
            next(steps)
        steps.close()
        network = build_network(source, settings, 1, seed=5)  # all of it comes from the state
        finish(train_steps(network, training, settings, device=CPU, state=state))
        return network.state_dict()

    whole, parts = trained(4), trained(1)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    changed, network = replace(settings, head_rate=0.1), build_network(source, settings, 1, seed=0)
    with pytest.raises(SettingsError, match="head_rate"):
        finish(train_steps(network, training, changed, device=CPU, state=tmp_path / "1.safetensors"))


@pytest.mark.parametrize("name", [n for n in KINDS if n not in ("max", "attention")])
def test_small_kinds_train_a_step_and_judge(planted, name: str) -> None:
    """Every small kind end to end on a few exams, on half the size that it is meant for."""
    exams, scans = planted
    settings = replace(kind_named(name).small, epochs=1, size=32, slices=3, draws=2)
    numbers = np.arange(4)
    one = {"coronal": scans["coronal"]}
    model = finish(
        learn_steps(
            exams, one, settings, source=find_encoder("first", settings), train=numbers, tuning=numbers[:0], device=CPU
        )
    )
    (score,) = finish(score_all(model, one, np.array([5]), device=CPU))
    assert 0 < score.probability[0] < 1


def test_frozen_encoders_stay_and_only_the_head_learns(planted) -> None:
    exams, scans = planted
    settings = replace(TINY, mode="frozen", epochs=2, head="attention")
    source = find_encoder("first", settings)
    network = build_network(source, settings, 1, seed=0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    training = Training(list(scans["coronal"][:6]), exams.targets[:6], exams.kind, 1)
    finish(train_steps(network, training, settings, device=CPU))
    moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert {"head.scale.centre", "head.out.weight"} <= moved
    assert all(k.startswith("head.") for k in moved)


def test_labels_that_all_share_are_refused(planted) -> None:
    exams, scans = planted
    ill = np.flatnonzero(exams.targets[:, 0] == 1)
    with pytest.raises(SettingsError, match="all of the exams to learn from have 'ring'"):
        finish(
            learn_steps(exams, scans, TINY, source=find_encoder("first", TINY), train=ill, tuning=ill[:0], device=CPU)
        )


def test_cross_validation_judges_everybody_once_beside_baselines(planted) -> None:
    exams, scans = planted
    few = exams.only(range(16))
    one = {"coronal": scans["coronal"][:16]}
    steps = cross_validate_steps(
        few, one, replace(TINY, epochs=4), source=find_encoder("first", TINY), folds=2, device=CPU, resamples=50
    )
    rows = finish(steps)
    assert [r.name for r in rows] == ["slice-resnet, first weights", "slice-resnet, from scratch", "guessing"]
    judged = rows[0].judgement
    assert (judged.exams, judged.people) == (16, 16)
    assert judged.by_label["ring"]["auc"].interval.level == 0.95
    assert all(0 <= p <= 1 for p in rows[0].probability.ravel())
    assert rows[-1].judgement.by_label["ring"]["auc"].measure.value == 0.5


def test_features_without_weights_serve_a_frozen_head(planted) -> None:
    exams, scans = planted
    settings = replace(TINY, mode="frozen", size=32, epochs=2)
    source, numbers = find_encoder("none", settings), np.arange(6)
    one = {"coronal": scans["coronal"]}
    model = finish(learn_steps(exams, one, settings, source=source, train=numbers, tuning=numbers[:0], device=CPU))
    assert np.isfinite(finish(score_all(model, one, numbers, device=CPU))[0].probability).all()
    with pytest.raises(SettingsError, match="no weights to train"):
        build_network(source, replace(settings, mode="full"), 1, seed=0)


def test_divide_needs_its_branches_and_an_encoder_of_slices(planted) -> None:
    settings = replace(TINY, head="divide")
    source = find_encoder("first", settings)
    with pytest.raises(SettingsError, match="nine branches of an SSLACL encoder"):
        build_network(source, settings, 1, seed=0)
    with pytest.raises(SettingsError, match="do not fit slice-resnet"):
        find_encoder("first", replace(TINY, encoder_options='{"wide": 1}'))
    with pytest.raises(SettingsError, match="choose one of: max"):
        kind_named("transformer")


@pytest.mark.parametrize(
    ("kind", "encoder", "config"),
    [
        ("sslacl", "sslacl-trunk", {"width": 1 / 64, "input_size": 32}),
        ("skid", "skid-trunk", {"version": "v1", "width": 1 / 64, "input_size": 32}),
        ("noblocks", "skid-trunk", {"version": "noblocks", "width": 1 / 64, "input_size": 32}),
        ("binary", "resnet18-s8", {"width": 8, "channels": 16, "input_size": 32}),
        ("attention", "slice-resnet", {"in_slices": 3, "width": 8, "channels": 16, "input_size": 32}),
    ],
)
def test_encoders_come_from_the_weights_of_pretraining(tmp_path: Path, kind: str, encoder: str, config: dict) -> None:
    torch.manual_seed(7)
    trained = build_encoder(encoder, **config)
    save_bundle(tmp_path / "encoder.safetensors", module_bundle("encoder", encoder, trained, {}))
    source = find_encoder(tmp_path / "encoder.safetensors", kind_named(kind).small)
    assert source.size == 32
    network = build_network(source, kind_named(kind).small, 2, seed=0)
    own, theirs = network.encoder.state_dict(), trained.state_dict()
    assert own
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())
    scratch = build_network(source, kind_named(kind).small, 2, seed=0, scratch=True).encoder.state_dict()
    assert any(not torch.equal(value, theirs[name]) for name, value in scratch.items())
    assert network(torch.rand(1, 3, source.in_slices, 32, 32)).shape == (1, 2)


def test_one_slice_and_an_exam_in_one_plane_only(tmp_path: Path, planted, learned) -> None:
    model, _ = learned
    np.save(tmp_path / "thin.npy", np.random.default_rng(0).integers(0, 255, (1, 40, 20), np.uint8))
    exam = ExamSet("several", ("ring",), (Exam("thin", "p", {"coronal": tmp_path / "thin.npy"}, (0.0,)),))
    scans = finish(load_exams(exam, 32))
    score = finish(model.score_steps({"coronal": scans["coronal"][0]}, device=CPU))
    assert np.isfinite(score.probability).all()
