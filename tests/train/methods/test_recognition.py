"""Recognition through the trainer: it learns, gives a recogniser, and says what is wrong with its settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError, SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle, load_module, module_bundle, save_bundle
from napari_medssl.models.recogniser import build_recogniser
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.train.curves import read_curves
from napari_medssl.train.method import find_method
from napari_medssl.train.methods.recognition import SMALL, build
from napari_medssl.train.trainer import train_on

TWO = replace(SMALL, structures='{"made": ["square", "ring"]}', size=32)


def scan(seed: int, group: str = "made") -> Scan:
    """A bright square and a dark one, on grey in air."""
    rng = np.random.default_rng(seed)
    image, labels = np.zeros((8, 32, 32), np.uint8), np.zeros((8, 32, 32), np.uint8)
    image[:, 3:29, 3:29] = 120
    y, x = rng.integers(5, 9, 2)
    labels[:, y : y + 8, x : x + 8], labels[:, y + 10 : y + 18, x + 8 : x + 16] = 1, 2
    image[labels == 1], image[labels == 2] = 230, 50
    return Scan(image, labels, (4.0, 1.0, 1.0), f"{seed}.nii", group, str(seed))


def test_it_learns_two_structures_and_gives_a_recogniser(tmp_path: Path) -> None:
    optim = replace(TWO.run.optim, learning_rate=5e-3)
    settings = replace(TWO, run=replace(TWO.run, steps=60, batch=4, log_every=20, optim=optim))
    weights = finish(train_on([scan(n) for n in range(3)], tmp_path, find_method("recognition"), settings))
    losses = [row["loss"] for row in read_curves(tmp_path / "log.csv").values()]
    assert losses[-1] < 0.75 * losses[0]
    bundle = load_bundle(weights)
    assert weights.name == "recogniser.safetensors"
    network = build_recogniser("structure-unet", **bundle.modules["recogniser"]["config"])
    load_module(network, bundle.state("recogniser"), "recogniser")
    assert network.structures == {"made": ("square", "ring")}
    held_out = scan(7)
    slices = torch.from_numpy(held_out.image[[2, 3, 4, 5, 6]].astype(np.float32))[None] / 255
    found = network(slices)[0].argmax(0).numpy()
    truth = held_out.labels
    assert truth is not None
    assert (found == truth[4])[truth[4] > 0].mean() > 0.5


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"made": []}', '{"made": "square"}', '{"made": [1]}'])
def test_structures_that_cannot_be_used_are_explained(text: str) -> None:
    with pytest.raises(SettingsError, match=r"must name at least one data set .* \{\"abdomen\""):
        build(replace(TWO, structures=text))


@pytest.mark.parametrize("options", ['{"depth": 3}', '{"input_size": 64}', "{", "[1]"])
def test_options_that_do_not_fit_are_explained(options: str) -> None:
    with pytest.raises(SettingsError, match="do not fit structure-unet"):
        build(replace(TWO, recogniser_options=options))


def test_a_size_that_cannot_be_halved_four_times_is_refused_with_one_that_can() -> None:
    with pytest.raises(SettingsError, match="size 200 is no multiple of 16, .* set 192"):
        build(replace(TWO, size=200))


def test_data_sets_that_are_not_named_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no labelled scan belongs to made"):
        finish(
            train_on(
                [scan(0, group="other")],
                tmp_path,
                find_method("recognition"),
                replace(TWO, run=replace(TWO.run, steps=1)),
            )
        )


def weights_of(path: Path, structures: dict[str, list[str]], role: str = "recogniser") -> Path:
    """A weights file of an untrained recogniser as small as the tests' own."""
    config = {"structures": structures, "features": [8, 8, 8, 8, 8, 8], "input_size": 32}
    torch.manual_seed(3)
    save_bundle(path, module_bundle(role, "structure-unet", build_recogniser("structure-unet", **config), {}))
    return path


def test_a_run_can_start_from_weights_and_says_so(tmp_path: Path) -> None:
    first = weights_of(tmp_path / "first.safetensors", {"made": ["square", "ring"]})
    recipe = build(replace(TWO, start_from=str(first)))
    bundle = load_bundle(first)
    assert recipe.facts == {"starts_from": bundle.sha256}
    own = recipe.objective.encoder.state_dict()
    assert all(torch.equal(own[k], v) for k, v in bundle.state("recogniser").items())
    assert recipe.objective.encoder.training


@pytest.mark.parametrize(
    ("structures", "role", "said"),
    [
        ({"made": ["ring", "square"]}, "recogniser", r'knows \{"made": \["ring", "square"\]\}'),
        ({"made": ["square", "ring"]}, "encoder", "holds no recogniser"),
    ],
)
def test_weights_that_know_other_structures_are_no_start(
    tmp_path: Path, structures: dict[str, list[str]], role: str, said: str
) -> None:
    first = weights_of(tmp_path / "first.safetensors", structures, role)
    with pytest.raises(WeightsError, match=said):
        build(replace(TWO, start_from=str(first)))


def test_weights_of_another_width_are_no_start(tmp_path: Path) -> None:
    first = weights_of(tmp_path / "first.safetensors", {"made": ["square", "ring"]})
    wide = replace(TWO, start_from=str(first), recogniser_options='{"features": [8, 16, 16, 16, 16, 8]}')
    with pytest.raises(WeightsError, match="of another shape"):
        build(wide)


def test_the_card_names_the_start_without_its_folder(tmp_path: Path) -> None:
    first = weights_of(tmp_path / "first.safetensors", {"made": ["square", "ring"]})
    settings = replace(TWO, start_from=str(first), run=replace(TWO.run, steps=1))
    weights = finish(train_on([scan(0)], tmp_path / "out", find_method("recognition"), settings))
    card = load_bundle(weights).card
    assert card["settings"]["start_from"] == "first.safetensors"
    assert card["settings"]["structures"] == TWO.structures
    assert str(tmp_path) not in str(card)
