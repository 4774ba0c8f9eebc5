"""The chance that a label is right, and what follows from it for the next slice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.labels import default_label
from napari_medssl.metrics.calibration import sigmoid
from napari_medssl.oneshot.calibration import (
    COUNTS,
    Calibration,
    calibration_for,
    of_entry,
    read_calibrations,
    with_entry,
    write_calibrations,
)
from napari_medssl.oneshot.confidence import confidence, confidence_map, features, look_at
from napari_medssl.oneshot.next_slice import (
    entropy_of_slices,
    expected_gains,
    labelling_queue,
    suggest_slices,
)
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume

SHAPE = (14, 32, 32)
_PLAIN = Calibration(
    # The method's own log-odds, weaker with the distance from the labels.
    np.array([0, 2.0, 0, 0, -1.5, 0, 0, 0, 0, 0, 0]),
    np.array([0, 1.0, -1.0, 0, 0, 0]),
    np.array([0.5, 0, -1.0, 2.0, 2.0, 0, 0]),
    np.array([-0.5, 0, 1.0, -2.0, -2.0, 0, 0]),
)


def _scan(spacing_z: float = 5.0) -> Volume:
    return Volume(np.random.default_rng(0).normal(size=SHAPE), np.diag([1.5, 1.5, spacing_z, 1.0])[:, [2, 1, 0, 3]])


def _result(scan: Volume, *, values: tuple[int, ...] = (1,)) -> Segmentation:
    labels, maps = np.zeros(SHAPE, np.uint8), {}
    for value in values:
        left = 4 + 12 * (value - 1)
        labels[3:11, 8:20, left : left + 10] = value
        inside = labels == value
        maps[value] = np.where(inside, 0.8, 0.02).astype(np.float16)
    return Segmentation(scan.like(labels, tuple(map(default_label, values))), maps, {})


def _support(scan: Volume, result: Segmentation, z: int, **said: object) -> Support:
    mask = np.zeros(SHAPE, np.uint8)
    mask[z] = result.labels.data[z]
    return Support(scan, mask, **said)  # type: ignore[arg-type]


def test_trust_falls_with_the_distance_from_the_label_which_itself_is_certain() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN).values()
    there = result.labels.data[one.box] == 1
    means = [float(one.right[z - one.low][there[z - one.low]].mean()) for z in range(6, 11)]
    assert means[0] == 1
    assert (np.diff(means) < 0).all()
    assert one.dice[6 - one.low] == 1
    assert (np.diff(one.dice[6 - one.low : 11 - one.low]) < 0).all()
    assert one.doubt_mm2[6 - one.low] == 0


def test_it_is_the_line_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = _scan()
    result = _result(scan)
    support = _support(scan, result, 6)
    facts = look_at(scan, result, [support], 1)
    assert facts is not None
    where = facts.region
    (one,) = confidence(scan, result, [support], calibration=_PLAIN).values()
    assert _PLAIN.voxel is not None
    np.testing.assert_allclose(one.inside[where], sigmoid(features(facts, where) @ _PLAIN.voxel), rtol=1e-5)
    z = 9
    d = (z - 6) * 5.0
    own = np.log(0.8 / 0.2) / 2
    expected = 1 / (1 + np.exp(-(2.0 * own - 1.5 * own * d / (d + 20))))
    row = z - one.low
    assert one.inside[row][where[row] & facts.label[row]].max() == pytest.approx(expected, abs=2e-3)


def test_distances_are_in_mm() -> None:
    thin, thick = _scan(1.0), _scan(8.0)
    dice = []
    for scan in (thin, thick):
        result = _result(scan)
        (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN).values()
        dice.append(one.dice[9 - one.low])
        assert one.distance_mm[9 - one.low] == pytest.approx(3 * scan.spacing_mm[0])
    assert dice[0] > dice[1]


def test_without_fitted_numbers_the_methods_own_probability_stands() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=Calibration()).values()
    open_slice = one.right[8 - one.low]
    there = result.labels.data[one.box][8 - one.low] == 1
    np.testing.assert_allclose(open_slice[there], 0.8, atol=1e-3)
    np.testing.assert_allclose(open_slice[~there], 0.98, atol=1e-3)


def test_the_map_covers_the_scan_and_knows_strokes_as_certain() -> None:
    scan = _scan()
    result = _result(scan, values=(1, 2))
    stroke = Stroke(np.array([[9, 10, 5]]), np.array([1]))
    result = Segmentation(result.labels, result.probability, {}, (stroke,))
    found = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN)
    values = confidence_map(result, found)
    assert values.shape == SHAPE
    assert values.min() < 1
    assert values.max() <= 1
    assert values[stroke.index][0] == 1
    assert (values[6] == 1).all()
    own = result.labels.data == 2
    np.testing.assert_allclose(values[own], found[2].right[own[found[2].box]], rtol=1e-6)


def test_an_organ_without_labels_here_or_without_a_voxel() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, calibration=_PLAIN).values()
    assert np.isinf(one.distance_mm).all()
    assert not one.painted.any()
    result.labels.data[:] = 0
    assert confidence(scan, result) == {}


def test_beyond_a_slice_said_to_be_empty_nothing_is_in_doubt() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, [_support(scan, result, 6, absent={1: (11,)})], calibration=_PLAIN).values()
    assert one.painted[11 - one.low :].all()
    assert not one.painted[10 - one.low]
    assert not one.painted[: 6 - one.low].any()
    assert (one.doubt_mm2[11 - one.low :] == 0).all()


def test_an_organ_that_ends_wide_is_expected_to_go_on() -> None:
    scan = _scan()
    blunt, pointed = _result(scan), _result(scan)
    pointed.labels.data[9:11] = 0
    pointed.labels.data[9:11, 12:14, 8:10] = 1
    doubt = []
    for result in (blunt, pointed):
        (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN).values()
        doubt.append(float(one.doubt_mm2[12 - one.low]))
    assert doubt[0] > 5 * doubt[1]


def test_a_label_takes_away_its_own_errors_and_part_of_its_neighbours() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN).values()
    gains = expected_gains(one, 5.0)
    z, total = 9, 0.0

    def height(mm: float) -> float:
        return mm**2 / (mm**2 + 120**2)

    rows = [row for row in range(len(one.doubt_mm2)) if one.low + row != 6]
    organ = [row for row in rows if one.area_mm2[row]]
    plain = {row: one.area_mm2[row] * height(abs(one.low + row - 6) * 5.0) for row in organ}
    scale = sum(one.doubt_mm2[row] for row in organ) / sum(plain.values())
    for row in rows:  # the sentences of suggest_slices, in a loop
        at = one.low + row
        wrong = one.doubt_mm2[row] if row not in plain else (one.doubt_mm2[row] + plain[row] * scale) / 2
        before, after = abs(at - 6) * 5.0, min(abs(at - 6), abs(at - z)) * 5.0
        total += wrong * (1 - height(after) / height(before))
    assert one.area_mm2[rows[-1]] == 0  # slices beyond the end are among them
    assert gains[z] == pytest.approx(0.3 * total / (2 * one.area_mm2.sum()), rel=1e-4)
    assert 6 not in gains


def test_slices_far_from_labels_gain_though_they_seem_right() -> None:
    scan = _scan()
    result = _result(scan)
    (one,) = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN).values()
    sure = replace(one, doubt_mm2=np.where(np.arange(len(one.doubt_mm2)) + one.low == 5, 1, 0).astype(np.float32))
    gains = expected_gains(sure, 5.0)
    assert gains[9] > gains[7] > 0  # on this side no error is expected at all
    assert expected_gains(replace(sure, doubt_mm2=0 * sure.doubt_mm2), 5.0)[9] == 0


def test_suggestions_are_ranked_open_and_say_why() -> None:
    scan = _scan()
    result = _result(scan, values=(1, 2))
    supports = [_support(scan, result, 6)]
    found = confidence(scan, result, supports, calibration=_PLAIN)
    best = suggest_slices(found, result.labels.labels, spacing_z_mm=5.0)
    assert len(best) == 5
    assert [s.gain for s in best] == sorted((s.gain for s in best), reverse=True)
    assert all(s.z != 6 for s in best)
    assert "organ" in best[0].reason
    assert "Dice" in best[0].reason
    (alone,) = suggest_slices(found, result.labels.labels, spacing_z_mm=5.0, organ=2, count=1)
    assert alone.organs == (2,)
    beyond = next(s for s in suggest_slices(found, result.labels.labels, spacing_z_mm=5.0, count=99) if s.z > 10)
    assert "may go on" in beyond.reason
    assert suggest_slices(found, (), spacing_z_mm=5.0, organ=7) == []


def test_the_queue_has_the_slices_of_all_scans_by_entropy() -> None:
    scan = _scan()
    result = _result(scan)
    near = confidence(scan, result, [_support(scan, result, 6)], calibration=_PLAIN)
    none = confidence(scan, result, calibration=_PLAIN)
    queue = labelling_queue({"a": near, "b": none})
    bits = [row[2] for row in queue]
    assert bits == sorted(bits, reverse=True)
    assert ("a", 6) not in {row[:2] for row in queue}
    assert queue[0][0] == "b"  # nothing is labelled there
    (one,) = none.values()
    p = np.clip(one.inside[3 - one.low].astype(float), 1e-6, 1 - 1e-6)[one.region[3 - one.low]]
    plain = sum(-x * np.log2(x) - (1 - x) * np.log2(1 - x) for x in p)
    assert entropy_of_slices(one)[3] == pytest.approx(plain, rel=1e-5)


def _entry(weights: str = "w", route: str = "within") -> dict[str, object]:
    return {"weights": weights, "route": route, "scans": 3} | {k: [0.5] * n for k, n in COUNTS.items()}


def test_fitted_numbers_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    entries = with_entry(with_entry([], _entry()), _entry(route="across"))
    write_calibrations(path, with_entry(entries, _entry() | {"scans": 9}))
    again = read_calibrations(path)
    assert [(e["route"], e["scans"]) for e in again] == [("across", 3), ("within", 9)]
    voxel = of_entry(again[0]).voxel
    assert voxel is not None
    assert voxel.shape == (COUNTS["voxel"],)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "no calibration"),
        ('{"format": 9}', "format 1"),
        ('{"format": 1}', "no list"),
        (json.dumps({"format": 1, "entries": [_entry() | {"voxel": [1]}]}), "voxel must be 11 numbers"),
        (json.dumps({"format": 1, "entries": [_entry() | {"voxel": ["a"] * 11}]}), "voxel must be 11 numbers"),
        (json.dumps({"format": 1, "entries": [_entry() | {"route": "up"}]}), "none of the routes"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=said):
        read_calibrations(path)
    with pytest.raises(FormatError, match="cannot read"):
        read_calibrations(tmp_path / "missing.json")


def test_shipped_numbers_serve_their_weights_and_stand_in_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = (_entry("first") | {"scans": 1}, _entry("second") | {"scans": 2})
    monkeypatch.setattr("napari_medssl.oneshot.calibration._shipped", lambda: entries)
    assert "on 1 scans" in calibration_for({"weights": {"sha256": "first"}}, within=True).origin
    assert calibration_for({"weights": {"sha256": "third"}}, within=True).origin == "fitted for other weights"
    assert calibration_for({}, within=False).voxel is None


def test_the_package_ships_numbers_that_can_be_read() -> None:
    found = calibration_for({}, within=True)
    assert found.voxel is not None
    assert found.slice_with is not None
    assert found.slice_without is not None
    assert found.missed is not None
