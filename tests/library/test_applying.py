"""The best-matching examples are picked, and the report says which; features in the file save encoding."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.engine import Engine
from napari_medssl.errors import SettingsError, SupportError
from napari_medssl.labels import Label
from napari_medssl.library import Library
from napari_medssl.library.ranking import SelectSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume
from tests.engine.conftest import Counter, write_weights
from tests.library.conftest import LIVER, SPLEEN, labels, scan, support


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine("cpu", write_weights(tmp_path / "tiny.safetensors")) as made:
        yield made


def dark(seed: int) -> Volume:
    """A scan whose organs are darker than the rest."""
    return scan(seed, bright=-60.0)


@pytest.fixture
def mixed() -> Library:
    """Two examples that look like `scan`, two that look like `dark`."""
    made = Library()
    for name, volume in (("a", dark(1)), ("b", scan(2)), ("c", dark(3)), ("d", scan(4))):
        made = made.add(support(volume, 5, 6, 7), name=name)
    return made


def names(matches, organ=LIVER):
    return [m.example.name.split()[0] for m in matches if m.example.organ == organ]


def test_examples_that_look_alike_come_first(mixed, engine):
    bright = mixed.supports_for(engine, scan(9))
    assert sorted(names(bright.matches)[:2]) == ["b", "d"]
    assert sorted(names(mixed.supports_for(engine, dark(9)).matches)[:2]) == ["a", "c"]
    likeness = [m.likeness for m in bright.matches if m.example.organ == LIVER]
    assert likeness == sorted(likeness, reverse=True)


def test_as_many_as_asked_for_each_organ_of_its_own(mixed, engine):
    library = mixed.remove("b spleen")
    one = library.supports_for(engine, scan(9), settings=SelectSettings(1))
    assert names(one.used) in (["b"], ["d"])
    assert names(one.used, SPLEEN) == ["d"]
    every = library.supports_for(engine, scan(9), settings=SelectSettings(0))
    assert (len(every.used), len(every.supports)) == (7, 4)  # organs of one scan share a label map
    with pytest.raises(SettingsError, match="per_organ"):
        library.supports_for(engine, scan(9), settings=SelectSettings(-1))


def test_supports_are_the_kept_scans_with_the_painted_slices(mixed, engine):
    choice = mixed.supports_for(engine, scan(9), settings=SelectSettings(2))
    for made in choice.supports:
        assert made.slices == (5, 6, 7)
        np.testing.assert_array_equal(made.mask[5:8], labels()[5:8])
        assert made.organs == (LIVER, SPLEEN)


def test_organs_that_overlap_get_label_maps_of_their_own(engine):
    volume = scan(0)
    made = Library().add(support(volume, 6, organs=(LIVER,)))
    tumour = Support(volume, (labels() == 1) * np.uint8(5), (Label(5, "tumour", (1, 2, 3)),))
    choice = made.add(tumour).supports_for(engine, scan(9))
    assert [s.organs[0].name for s in choice.supports] == ["liver", "tumour"]
    assert choice.supports[0].volume is choice.supports[1].volume


def test_an_example_on_the_scan_itself_is_used_alone(mixed, engine):
    volume = scan(2)
    choice = mixed.remove("b spleen").supports_for(engine, volume, settings=SelectSettings(3))
    assert names(choice.used) == ["b"]
    assert sorted(names(choice.used, SPLEEN)) == ["a", "c", "d"]
    own = next(s for s in choice.supports if s.volume is volume)
    assert own.organs == (LIVER,)
    assert next(f for f in choice.report["examples"] if f["name"] == "b liver")["own_scan"]


def test_another_modality_comes_last_and_is_said(mixed, engine):
    ct = Library().add(support(dataclasses.replace(scan(8), modality="CT"), 5, 6, 7), name="ct")
    both = ct.with_examples((*ct.examples, *mixed.examples))
    choice = both.supports_for(engine, scan(9), settings=SelectSettings(1))
    assert names(choice.matches)[-1] == "ct"
    assert choice.report["notes"] == []
    alone = ct.supports_for(engine, scan(9))
    assert "the scan is MR, but the library has no such example of liver, spleen" in alone.report["notes"][0]


def test_apply_segments_with_what_it_picked_and_says_so(mixed, engine):
    volume, two = scan(9), SelectSettings(2)
    result = mixed.apply(engine, volume, select=two, slice_range=(2, 10))
    choice = mixed.supports_for(engine, volume, settings=two)
    expected = engine.segment(volume, choice.supports, slice_range=(2, 10))
    np.testing.assert_array_equal(result.labels.data, expected.labels.data)
    assert result.labels.labels == (LIVER, SPLEEN)
    told = json.loads(json.dumps(result.report))["library"]
    assert told == json.loads(json.dumps(choice.report))
    assert told["library_sha256"] == mixed.sha256
    assert told["settings"] == {"per_organ": 2}
    used = [e for e in told["examples"] if e["used"]]
    assert sorted(e["name"] for e in used) == ["b liver", "b spleen", "d liver", "d spleen"]
    assert {e["likeness"] for e in used} <= {e["likeness"] for e in told["examples"]}


def test_only_some_organs(mixed, engine):
    assert mixed.only("Spleen").organs == (SPLEEN,)
    assert mixed.only("1").organs == (LIVER,)
    with pytest.raises(SupportError, match="no example of 'kidney'; its organs are: liver, spleen"):
        mixed.only("kidney")
    with pytest.raises(SupportError, match="the library has no examples"):
        Library().supports_for(engine, scan(9))


def test_kept_features_save_encoding_and_change_nothing(mixed, engine, tmp_path):
    plain = mixed.supports_for(engine, scan(9))
    mixed.with_features(engine).save(tmp_path / "f.medssl")
    stored = Library.load(tmp_path / "f.medssl")
    assert len(stored.features) == 4
    engine.cache.clear()
    counter = Counter(engine.encoder)
    choice = stored.supports_for(engine, scan(9))
    counter.remove()
    assert counter.slices == 12  # the query's alone
    assert [m.example.name for m in choice.matches] == [m.example.name for m in plain.matches]
    np.testing.assert_allclose([m.likeness for m in choice.matches], [m.likeness for m in plain.matches], atol=5e-3)


def test_features_of_other_weights_are_not_used(mixed, engine, tmp_path):
    with Engine("cpu", write_weights(tmp_path / "other.safetensors", seed=1)) as other:
        foreign = mixed.with_features(other)
    counter = Counter(engine.encoder)
    choice = foreign.supports_for(engine, scan(9))
    counter.remove()
    assert counter.slices == 12 * 5
    assert [m.likeness for m in choice.matches] == [m.likeness for m in mixed.supports_for(engine, scan(9)).matches]


def test_features_go_with_their_scan(mixed, engine):
    stored = mixed.with_features(engine)
    assert len(stored.remove("a liver", "a spleen").features) == 3
    more = stored.add(support(scan(2), 4, organs=(LIVER,)))  # more of scan b is kept now: its features are out of date
    assert len(more.features) == 3
    assert more.supports_for(engine, scan(9)).used
