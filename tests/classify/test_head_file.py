"""Heads come back from disk as they were; what is no head, or another encoder's, is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.classify.head_file import load_head, read_head_file, save_head, write_head_file
from napari_medssl.classify.slices import EncoderFacts, LearnSettings, SliceVectors, learn_slices, several_classes
from napari_medssl.errors import FormatError, WeightsError

ENCODER = EncoderFacts("fake", "tiny", "ab" * 32)


@pytest.fixture
def scan() -> SliceVectors:
    data = np.random.default_rng(0).normal(0, 1, (12, 8)).astype(np.float32)
    return SliceVectors(data, np.arange(12, dtype=np.float32), ENCODER)


@pytest.fixture
def learned(scan: SliceVectors) -> Callable[..., object]:
    def learn(**settings: object) -> object:
        marks = several_classes(["Läsion", "b"], {"s": {z: [["Läsion"], ["b"], []][z % 3] for z in range(9)}})
        return learn_slices({"s": scan, "t": scan}, marks, LearnSettings(steps=5, members=2, **settings))  # type: ignore[arg-type]

    return learn


@pytest.mark.parametrize("kind", ["logistic", "knn"])
@pytest.mark.parametrize("height", [True, False])
def test_the_same_scores_from_the_file(tmp_path: Path, scan: SliceVectors, learned, kind: str, *, height: bool) -> None:  # type: ignore[no-untyped-def]
    head = learned(head=kind, height=height)
    file = save_head(tmp_path, head, {"who": "test"})
    assert file == tmp_path / "head.safetensors"
    again = load_head(tmp_path, encoder=ENCODER)
    before, after = head.scores(scan), again.scores(scan)
    np.testing.assert_array_equal(before.probability, after.probability)
    np.testing.assert_array_equal(before.spread, after.spread)
    assert again.classes == ("Läsion", "b")
    assert again.threshold_of == head.threshold_of
    assert again.notes == head.notes
    told = json.loads((tmp_path / "head.json").read_text(encoding="utf-8"))
    assert told["card"]["who"] == "test"
    assert told["encoder"]["weights"] == "tiny"


@pytest.mark.parametrize("kind", ["attention", "max"])
def test_heads_of_exams(tmp_path: Path, scan: SliceVectors, kind: str) -> None:
    from napari_medssl.classify.slices import SliceMarks

    marks = SliceMarks(("a",), exams={"s": {"a": True}, "t": {"a": False}})
    other = SliceVectors(scan.data + 1, scan.position_mm, ENCODER)
    head = learn_slices({"s": scan, "t": other}, marks, LearnSettings(head=kind, steps=3, members=2))  # type: ignore[arg-type]
    again = load_head(save_head(tmp_path / "mine", head))
    np.testing.assert_array_equal(head.scores(scan).exam, again.scores(scan).exam)


def test_another_encoder_is_refused_with_both_names(tmp_path: Path, learned) -> None:  # type: ignore[no-untyped-def]
    save_head(tmp_path / "liver.safetensors", learned())
    other = EncoderFacts("resnet50", "my.safetensors", "cd" * 32)
    with pytest.raises(WeightsError, match=r"liver.safetensors was learned on .*'fake'.*tiny.*'resnet50'.*my.safet"):
        load_head(tmp_path / "liver", encoder=other)


def test_what_is_no_head_is_said(tmp_path: Path, learned) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FormatError, match="no head at"):
        load_head(tmp_path / "none")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        load_head(tmp_path / "text.safetensors")
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(FormatError, match="holds no head"):
        load_head(tmp_path / "weights.safetensors")
    write_head_file(tmp_path / "exam", "exams", {"a": np.zeros(1)}, {}, encoder=ENCODER)
    with pytest.raises(FormatError, match="a head for exams, not for slices"):
        load_head(tmp_path / "exam")
    file = save_head(tmp_path / "good", learned())
    arrays, facts, encoder = read_head_file(file, "slices")
    del arrays["scorer.weight"]
    write_head_file(tmp_path / "damaged", "slices", arrays, facts, encoder=encoder)
    with pytest.raises(FormatError, match="is damaged"):
        load_head(tmp_path / "damaged")


def test_no_folder_no_half_written_head(tmp_path: Path, learned) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FormatError, match="does not exist"):
        save_head(tmp_path / "missing" / "head", learned())
    assert list(tmp_path.iterdir()) == []
