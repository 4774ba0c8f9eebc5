"""Ways of fine-tuning: which parameters change when, and that training learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.candidate import load_candidate
from napari_medssl.evaluate.finetune import finetune_steps
from napari_medssl.evaluate.fit import FitSettings, apply_phase, fit_steps
from napari_medssl.evaluate.phases import Phase, encoder_stages, phase_at
from napari_medssl.evaluate.presence import presence
from napari_medssl.metrics.classification import auc
from napari_medssl.progress import finish
from napari_medssl.train.divergence import DivergedError

RUN = {"steps": 100, "per_epoch": 4, "stages": 3, "head_rate": 1e-3, "encoder_rate": 1e-4}


def phases(mode, **changed):
    run = RUN | changed
    return [phase_at(mode, step, **run) for step in range(run["steps"])]


def test_modes():
    assert {p.open for p in phases("frozen")} == {0}
    assert {p.open for p in phases("full")} == {3}
    first = phases("full")[0]
    assert (first.head_rate, first.encoder_rate) == (1e-3, 1e-4)
    warm = phases("warm-up")
    assert [p.open for p in warm] == [0] * 20 + [3] * 80  # five epochs of four steps
    assert warm[19].head_rate == pytest.approx(phases("full")[19].head_rate)
    assert warm[20].head_rate == warm[20].encoder_rate == pytest.approx(0.1 * phases("full")[20].head_rate)
    assert [p.open for p in phases("warm-up", per_epoch=50)].count(0) == 50  # at most half of the run
    gradual = [p.open for p in phases("gradual")]
    assert [gradual.index(n) for n in range(4)] == [0, 25, 50, 75]
    assert phases("full")[-1].head_rate < 1e-6


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1)), nn.Linear(3, 1)


def test_closed_stages_keep_weights_and_batch_statistics():
    encoder, head = network()
    stages = encoder_stages(encoder)
    assert len(stages) == 3  # the ReLU has nothing to train
    optimiser = torch.optim.AdamW([{"params": list(p.parameters()), "lr": 0.0} for p in (head, *stages)])
    apply_phase(Phase(1, 1e-3, 1e-4), encoder, head, stages, optimiser)
    assert [s.training for s in stages] == [False, False, True]
    assert [p.requires_grad for p in encoder.parameters()] == [False] * 4 + [True] * 2
    assert [g["lr"] for g in optimiser.param_groups] == [1e-3, 0, 0, 1e-4]


@pytest.mark.parametrize(("mode", "changed"), [("frozen", 0), ("full", 3), ("gradual", 3), ("warm-up", 3)])
def test_what_a_run_changes(mode, changed):
    torch.manual_seed(0)
    encoder, head = network()
    before = [[p.clone() for p in s.parameters()] for s in encoder_stages(encoder)]
    x, y = torch.randn(12, 1, 4, 4), torch.randn(12, 1)

    def loss(numbers, rng):
        return (head(encoder(x[numbers]).mean((2, 3))) - y[numbers]).square().mean()

    settings = FitSettings(mode=mode, steps=12, batch=4, weight_decay=0.0)
    finish(fit_steps(encoder, head, loss, None, 12, settings, rng=np.random.default_rng(0)))
    after = [list(s.parameters()) for s in encoder_stages(encoder)]
    moved = [not all(map(torch.equal, a, b)) for a, b in zip(before, after, strict=True)]
    assert sum(moved) == changed
    assert (encoder[1].num_batches_tracked > 0) == bool(changed)
    assert not encoder.training


def test_passes_see_every_example_equally_often():
    encoder, head = network()
    seen = np.zeros(10, int)

    def loss(numbers, rng):
        np.add.at(seen, numbers, 1)
        return head.bias.square().sum()

    finish(fit_steps(encoder, head, loss, None, 10, FitSettings(steps=5, batch=4), rng=np.random.default_rng(0)))
    assert seen.tolist() == [2] * 10


def test_a_loss_that_is_not_finite_stops_the_run():
    encoder, head = network()
    with pytest.raises(DivergedError, match="step 0"):
        finish(
            fit_steps(
                encoder, head, lambda n, r: head.bias.sum() * float("nan"), None, 4, FitSettings(steps=2),
                rng=np.random.default_rng(0),
            )
        )  # fmt: skip


def split(scans):
    examples = presence(scans, slices_per_scan=6)
    test = np.flatnonzero(examples.scan >= 4)
    return examples, np.setdiff1d(np.arange(len(examples)), test), test


@pytest.mark.parametrize("scratch", [False, True])
def test_training_learns_and_repeats(scans, candidate, scratch):
    examples, train, test = split(scans)
    before = {k: v.clone() for k, v in candidate.encoder.state_dict().items()}

    def run(seed):
        settings = FitSettings(steps=25, batch=8, head_rate=1e-2, encoder_rate=3e-3)
        return finish(
            finetune_steps(
                candidate, scans, examples, train=train, test=test, settings=settings, seed=seed,
                device=torch.device("cpu"), scratch=scratch,
            )
        )  # fmt: skip

    told = run(0)
    assert told.shape == (12, 2)
    assert auc(examples.targets[test, 0].astype(int), told[:, 0]).value > 0.9
    np.testing.assert_array_equal(told, run(0))
    assert not np.array_equal(told, run(1))
    assert all(torch.equal(v, before[k]) for k, v in candidate.encoder.state_dict().items())


@pytest.mark.parametrize("change", [{"augment": "s6"}, {"balance": "resample"}, {"balance": "weights"}])
def test_options_run_on_all_kinds_of_targets(scans, candidate, change):
    examples, train, test = split(scans)
    settings = replace(FitSettings(steps=3, batch=4, exam_slices=3), **change)
    one_hot = np.stack([examples.targets[:, 0], 1 - examples.targets[:, 0]], 1)
    bags = tuple(np.arange(2 + n % 5) for n in range(len(examples)))
    for other in (examples, replace(examples, kind="one", targets=one_hot, slices=bags)):
        told = finish(
            finetune_steps(
                candidate, scans, other, train=train, test=test, settings=settings, seed=0, device=torch.device("cpu")
            )
        )
        assert told.shape == (12, 2)
        assert np.isfinite(told).all()
        if other.kind == "one":
            np.testing.assert_allclose(told.sum(1), 1, rtol=1e-5)


def test_an_encoder_without_weights_cannot_be_trained(scans, policy):
    bank = load_candidate("none", policy, size=32)
    assert not bank.learns
    examples, train, test = split(scans)
    with pytest.raises(SettingsError, match="nothing to train"):
        finish(
            finetune_steps(
                bank, scans, examples, train=train, test=test, settings=FitSettings(), seed=0,
                device=torch.device("cpu"),
            )
        )  # fmt: skip
