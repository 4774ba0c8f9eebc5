"""The published training as a whole: the loss falls, runs resume exactly, and what it writes can be used."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_medssl.errors import FormatError, SettingsError, WeightsError
from napari_medssl.io import write
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.progress import finish
from napari_medssl.samples.phantom import phantom
from napari_medssl.train import cowpro, pseudo_masks
from napari_medssl.train.cowpro import CowproTrainSettings, train_cowpro
from napari_medssl.train.loop import DivergedError
from napari_medssl.train.optim import SgdSettings
from napari_medssl.volume import Volume

TINY = CowproTrainSettings(
    encoder="slice-resnet",
    encoder_options='{"width": 8, "channels": 16, "in_slices": 1}',
    iterations=6,
    size=64,
    save_every=2,
    log_every=1,
    seed=0,
    sgd=SgdSettings(learning_rate=0.02),
    superpixels=SuperpixelSettings(min_size=800),
)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small phantoms as a labelled set."""
    root = tmp_path_factory.mktemp("set")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for seed in (0, 1):
        image, labels = phantom("MR", shape=(6, 64, 64), seed=seed)
        write(root / "images" / f"p{seed}.nii.gz", image)
        write(root / "labels" / f"p{seed}.nii.gz", labels)
    return sorted((root / "images").iterdir())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as f:
        return list(csv.DictReader(f))


def without_seconds(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(out)]


def test_the_loss_falls_and_the_weights_can_be_used(scans: list[Path], tmp_path: Path) -> None:
    settings = replace(TINY, iterations=50, log_every=10, batch=4)
    path = finish(train_cowpro(scans, tmp_path, settings))
    log = rows(tmp_path)
    assert [int(row["step"]) for row in log] == [10, 20, 30, 40, 50]
    assert float(log[-1]["loss"]) < 0.85 * float(log[0]["loss"])
    assert all(row["skipped"] == "0" for row in log)
    bundle = load_bundle(path)
    module = bundle.modules["encoder"]
    encoder = load_module(build_encoder(module["name"], **module["config"]), bundle.state("encoder"), "encoder")
    assert encoder(torch.rand(1, 1, 64, 64)).shape == (1, 16, 16, 16)
    assert bundle.card["data"] == {scans[0].parent.parent.name: ["p0.nii.gz", "p1.nii.gz"]}
    assert bundle.card["run"]["iterations"] == 50
    json.dumps(bundle.card)


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(scans: list[Path], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(train_cowpro(scans, whole, TINY))
    for stop_after in (1, 2):  # closed after three steps (between two saved states), then after two more
        with closing(train_cowpro(scans, parts, TINY)) as steps:
            training = (p for p in steps if p.label.startswith("training"))
            list(islice(training, stop_after + 1))
    finish(train_cowpro(scans, parts, TINY))
    a, b = (load_file(out / "encoder.safetensors") for out in (whole, parts))
    assert set(a) == set(b)
    assert all(torch.equal(a[k], b[k]) for k in a)
    states = [load_file(out / "state.safetensors") for out in (whole, parts)]
    assert any("momentum" in k for k in states[0])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert without_seconds(whole) == without_seconds(parts)


def test_a_crash_loses_the_steps_since_the_last_save_and_no_more(
    scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(train_cowpro(scans, whole, TINY))
    real, calls = cowpro.train_step, []

    def fails_on_the_sixth(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(cowpro, "train_step", fails_on_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        finish(train_cowpro(scans, broken, TINY))
    assert [row["step"] for row in rows(broken)] == ["1", "2", "3", "4", "5"]
    finish(train_cowpro(scans, broken, TINY))
    assert len(calls) == 6 + 2  # steps 5 and 6 again
    a, b = (load_file(out / "encoder.safetensors") for out in (whole, broken))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert without_seconds(whole) == without_seconds(broken)


def test_batch_norm_statistics_resume_too_and_can_be_frozen(scans: list[Path], tmp_path: Path) -> None:
    settings = replace(TINY, encoder="resnet18-s8", encoder_options='{"width": 8, "channels": 16}', iterations=3)
    finish(train_cowpro(scans, tmp_path / "a", settings))
    with closing(train_cowpro(scans, tmp_path / "b", settings)) as steps:
        next(p for p in steps if p.label.startswith("training"))
    finish(train_cowpro(scans, tmp_path / "b", settings))
    a, b = (load_file(tmp_path / n / "encoder.safetensors") for n in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert a["encoder.bn1.running_mean"].abs().sum() > 0
    finish(train_cowpro(scans, tmp_path / "c", replace(settings, freeze_norm=True)))
    assert load_file(tmp_path / "c" / "encoder.safetensors")["encoder.bn1.running_mean"].abs().sum() == 0


def test_more_iterations_continue_and_other_settings_are_refused(scans: list[Path], tmp_path: Path) -> None:
    finish(train_cowpro(scans, tmp_path, replace(TINY, iterations=2)))
    finish(train_cowpro(scans, tmp_path, replace(TINY, iterations=4)))
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4"]
    with pytest.raises(SettingsError, match="sgd"):
        finish(train_cowpro(scans, tmp_path, replace(TINY, sgd=SgdSettings(learning_rate=0.5))))


def test_slices_with_excluded_labels_are_never_drawn(
    scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = []
    monkeypatch.setattr(cowpro, "EpisodeSource", lambda v, *a, **k: volumes.extend(v) or pytest.skip("drawn"))
    from napari_medssl.io import read

    masks = [read(Path(str(p).replace("images", "labels")), labels=True).data for p in scans]
    value = int(np.unique(masks[0])[1])
    with pytest.raises(pytest.skip.Exception):
        finish(train_cowpro(scans, tmp_path, replace(TINY, exclude_labels=str(value))))
    for volume, mask in zip(volumes, masks, strict=True):
        without = np.flatnonzero(~(mask == value).any((1, 2)))
        assert set(volume.usable) == set(without)
        assert len(without) < len(mask)


@pytest.mark.parametrize(
    ("text", "message"), [("0", "label values"), ("liver", "label values"), ("-1", "label values")]
)
def test_bad_excluded_labels_are_refused(text: str, message: str, scans: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        finish(train_cowpro(scans, tmp_path, replace(TINY, exclude_labels=text)))


def test_excluding_labels_needs_label_maps(scans: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "scan.nii.gz"
    alone.write_bytes(scans[0].read_bytes())
    with pytest.raises(SettingsError, match=r"scan\.nii\.gz has none"):
        finish(train_cowpro([alone], tmp_path / "out", replace(TINY, exclude_labels="1")))


def test_superpixels_are_computed_once(scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(train_cowpro(scans, tmp_path, replace(TINY, iterations=1)))
    assert len(list((tmp_path / "superpixels").iterdir())) == 2
    monkeypatch.setattr(pseudo_masks, "superpixels", lambda *_: pytest.fail("computed again"))
    finish(train_cowpro(scans, tmp_path, replace(TINY, iterations=2)))


def test_a_gradient_that_is_not_finite_is_skipped_and_a_lost_run_given_up(
    scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, bad = cowpro.episode_loss, [2]

    def sometimes_nan(*args: object, **kwargs: object) -> object:
        loss = real(*args, **kwargs)  # type: ignore[arg-type]
        bad[0] -= 1
        return replace(loss, total=loss.total * float("nan")) if bad[0] == 0 else loss

    monkeypatch.setattr(cowpro, "episode_loss", sometimes_nan)
    path = finish(train_cowpro(scans, tmp_path / "one", TINY))
    assert all(torch.isfinite(t).all() for t in load_file(path).values())
    assert [row["skipped"] for row in rows(tmp_path / "one")] == ["0", "1", "0", "0", "0", "0"]
    assert load_bundle(path).card["run"]["skipped"] == 1
    monkeypatch.setattr(
        cowpro, "episode_loss", lambda *a, **k: replace(real(*a, **k), total=torch.tensor(float("inf")))
    )
    with pytest.raises(DivergedError, match="20 steps"):
        finish(train_cowpro(scans, tmp_path / "all", replace(TINY, iterations=50)))


# --- where a run starts from ----------------------------------------------------------------------------------------


def test_a_run_can_start_from_a_bundle_or_published_weights(scans: list[Path], tmp_path: Path) -> None:
    first = finish(train_cowpro(scans, tmp_path / "a", replace(TINY, iterations=1)))
    still = SgdSettings(learning_rate=0.0)
    again = replace(TINY, iterations=1, start_from=str(first), encoder_options="", sgd=still)
    second = finish(train_cowpro(scans, tmp_path / "b", again))
    a, b = load_file(first), load_file(second)
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(WeightsError, match="holds the encoder 'slice-resnet'"):
        finish(train_cowpro(scans, tmp_path / "c", replace(again, encoder="resnet18-s8")))
    torch.manual_seed(7)
    other = build_encoder("resnet18-s8", width=8, channels=16)
    torch.save({f"backbone.{k}": v for k, v in other.state_dict().items() if "reduce" not in k}, tmp_path / "coco.pth")
    published = replace(
        again, encoder="resnet18-s8", encoder_options='{"width": 8, "channels": 16}',
        start_from=str(tmp_path / "coco.pth"), freeze_norm=True,
    )  # fmt: skip
    third = finish(train_cowpro(scans, tmp_path / "d", published))
    assert torch.equal(load_file(third)["encoder.layer4.1.conv2.weight"], other.state_dict()["layer4.1.conv2.weight"])
    assert "reduce.weight" in load_bundle(third).card["run"]["start"]


def test_the_first_weights_depend_on_the_seed_alone(scans: list[Path], tmp_path: Path) -> None:
    still = replace(TINY, iterations=1, sgd=SgdSettings(learning_rate=0.0))
    paths = []
    for name, seed, noise in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        torch.manual_seed(noise)
        paths.append(finish(train_cowpro(scans, tmp_path / name, replace(still, seed=seed))))
    a, b, c = (load_file(p)["encoder.stem.0.weight"] for p in paths)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "feature-bank", "encoder_options": ""}, "nothing to train"),
        ({"encoder": "unet"}, "no encoder is called"),
        ({"encoder_options": "{"}, "no JSON"),
        ({"encoder_options": "[1]"}, "JSON object"),
        ({"encoder_options": '{"depth": 3}'}, "do not fit"),
        ({"iterations": 0}, "iterations"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, object], message: str, scans: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        finish(train_cowpro(scans, tmp_path, replace(TINY, **change)))  # type: ignore[arg-type]


def test_no_readable_scan(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"junk")
    with pytest.raises(FormatError, match="could be read"):
        finish(train_cowpro([tmp_path / "scan.nii.gz"], tmp_path / "out", TINY))


def test_a_damaged_state_is_named(scans: list[Path], tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="cannot resume"):
        finish(train_cowpro(scans, tmp_path, TINY))


# --- the scan at hand -----------------------------------------------------------------------------------------------


def prototype_dice(encoder: torch.nn.Module, image: Volume, labels: Volume) -> float:
    """Mean Dice over organs: the largest slice of each as support, all its other slices as queries."""
    from napari_medssl.intensity import window_limits
    from napari_medssl.models.slices import make_frame, mask_to_frame, slice_batch
    from napari_medssl.oneshot.cowpro import predict

    frame = make_frame(image.shape[1:], image.spacing_mm[1:], 64)
    slices = slice_batch(image, range(image.shape[0]), frame, 1, limits=window_limits(image))
    scores = []
    with torch.inference_mode():
        features = encoder(slices)
        for value in range(1, 5):
            mask = labels.data == value
            present = np.flatnonzero(mask.any((1, 2)))
            z = int(mask.sum((1, 2)).argmax())
            target = mask_to_frame(mask[present], frame) > 0.5
            found = (
                predict(features[z : z + 1], mask_to_frame(mask[z : z + 1], frame), features[present], stride=4) > 0.5
            )
            scores.append(2 * float((found & target).sum()) / max(float(found.sum() + target.sum()), 1.0))
    return float(np.mean(scores))


def test_adapting_to_a_scan_does_not_harm_it_and_leaves_the_encoder_alone() -> None:
    image, labels = phantom("MR", shape=(8, 64, 64), seed=3)
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", width=8, channels=16, in_slices=1, input_size=64).requires_grad_(False)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    settings = cowpro.AdaptSettings(
        iterations=30, learning_rate=0.02, checks=8, superpixels=SuperpixelSettings(min_size=800)
    )
    adapted = finish(cowpro.adapt_encoder(encoder, [image], settings))
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert adapted.kept
    assert adapted.after > adapted.before
    assert not adapted.encoder.training
    assert not any(p.requires_grad for p in adapted.encoder.parameters())
    assert prototype_dice(adapted.encoder, image, labels) >= prototype_dice(encoder, image, labels)


@pytest.mark.parametrize(("after", "kept"), [(0.4, False), (0.5, True)])
def test_an_adaptation_that_does_harm_is_dropped(after: float, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, after])
    monkeypatch.setattr(cowpro, "held_out_dice", lambda *_: next(scores))
    image, _ = phantom("MR", shape=(4, 64, 64), seed=3)
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", width=8, channels=16, in_slices=1, input_size=64)
    settings = cowpro.AdaptSettings(iterations=1, superpixels=SuperpixelSettings(min_size=800))
    adapted = finish(cowpro.adapt_encoder(encoder, [image], settings))
    assert (adapted.before, adapted.after, adapted.kept) == (0.5, after, kept)
    assert (adapted.encoder is encoder) == (not kept)
