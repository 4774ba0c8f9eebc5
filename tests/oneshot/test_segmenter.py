"""The whole way from labelled slices to organs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError, SupportError
from napari_medssl.io import read, write_segmentation
from napari_medssl.labels import Label
from napari_medssl.oneshot import Segmentation, SegmentSettings, Support, segmenter
from napari_medssl.oneshot.propagation import PropagationSettings
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.quadrants import QuadrantSettings, plane_directions
from napari_medssl.oneshot.refine import RefineContext, refiners
from napari_medssl.oneshot.segmenter import compete, segment_volume
from napari_medssl.oneshot.transfer import OrganRange
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import SoftRange, Volume

FAST = SegmentSettings(propagation=PropagationSettings(mirror=False))
PROTOTYPES = SegmentSettings(method="prototypes", prototypes=PrototypeSettings(window=2, same_area=False))
NAMES = (Label(1, "liver", (9, 9, 9)), Label(2, "spleen", (8, 8, 8)))


def only(labels: np.ndarray, zs: list[int], organs: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """The labels of some organs on some slices, 0 elsewhere."""
    kept = np.zeros_like(labels)
    kept[zs] = np.where(np.isin(labels[zs], organs), labels[zs], 0)
    return kept


def dice(result: Segmentation, truth: np.ndarray) -> dict[int, float]:
    found = result.labels.data
    return {
        v: float(2 * ((found == v) & (truth == v)).sum() / ((found == v).sum() + (truth == v).sum())) for v in (1, 2)
    }


def segment(models: Any, query: Volume, supports: list[Support], **more: Any) -> Segmentation:
    return finish(segment_volume(query, supports, models=models, **{"settings": FAST, **more}))


def test_within_a_scan_both_organs_are_carried_from_one_slice(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    result = segment(models, query, [Support(query, only(truth, [7]), NAMES)])
    assert min(dice(result, truth).values()) > 0.93
    assert result.labels.labels == NAMES
    assert result.labels.data.dtype == np.uint8
    np.testing.assert_array_equal(result.labels.affine, query.affine)
    assert sorted(result.probability) == [1, 2]
    assert all(p.dtype == np.float16 and p.shape == query.shape for p in result.probability.values())
    assert models.encoded == []  # nothing is matched, so nothing is encoded


@pytest.mark.parametrize("given_range", [False, True])
def test_across_scans_both_organs_are_found(models: Any, two_organs: Callable[..., Any], given_range: bool) -> None:
    (query, truth), (other, labels) = two_organs(shift=3, seed=1), two_organs()
    slice_range = (3, 11) if given_range else None
    # The edge where the averaged opinions reach 0.5: features without training find too much at the usual one.
    settings = dataclasses.replace(FAST, threshold=0.625)
    result = segment(
        models, query, [Support(other, only(labels, [4, 7, 9]))], slice_range=slice_range, settings=settings
    )
    assert min(dice(result, truth).values()) > 0.6  # organs of four cells
    spans = result.report["organ_ranges"]
    assert {s["origin"] for s in spans.values()} == {"given" if given_range else "height"}
    assert sorted(models.encoded) == sorted([query.content_hash, other.content_hash])


def test_organs_labelled_here_are_carried_and_the_others_matched(models: Any, two_organs: Callable[..., Any]) -> None:
    (query, truth), (other, labels) = two_organs(shift=2, seed=1), two_organs()
    supports = [Support(query, only(truth, [7], (1,))), Support(other, only(labels, [4, 7, 9], (1, 2)))]
    result = segment(models, query, supports, slice_range=(3, 11))
    assert min(dice(result, truth).values()) > 0.6  # organs of four cells, features without training
    assert list(result.report["organ_ranges"]) == ["2"]


def test_painted_slices_stay_exactly_as_painted(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    painted = only(truth, [6], (1,))
    painted[6, 10:12, 50:53] = 1  # nonsense, but the user's own
    painted[9, 30:40, 30:40] = 2
    result = segment(models, query, [Support(query, painted)])
    for z, organ in ((6, 1), (9, 2)):
        np.testing.assert_array_equal(result.labels.data[z] == organ, painted[z] == organ)


def test_a_correction_on_a_further_slice_changes_the_result_there(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    before = segment(models, query, [Support(query, only(truth, [7], (1,)))])
    gone = only(truth, [7], (1,))
    gone[9, 20:24, 14:18] = 1  # the user says: here it is this small
    after = segment(models, query, [Support(query, gone)])
    assert (after.labels.data[9] == 1).sum() == 16 < (before.labels.data[9] == 1).sum()


def test_the_same_scan_read_again_counts_as_itself(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    again = Volume(query.data.copy(), query.affine, "MR")
    support = only(truth, [7])
    one, two = (segment(models, query, [Support(v, support)]) for v in (query, again))
    np.testing.assert_array_equal(one.labels.data, two.labels.data)
    assert two.report["organ_ranges"] == {}


def test_outside_the_range_there_is_no_organ(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    result = segment(models, query, [Support(query, only(truth, [7]))], slice_range=(5, 9))
    assert np.flatnonzero(result.labels.data.any((1, 2))).tolist() == [5, 6, 7, 8]
    assert result.report["slice_range"] == [5, 9]


@pytest.mark.parametrize("method", ["learned", "prototypes"])
def test_a_soft_range_cuts_off_what_lies_outside_and_moves_nothing(
    models: Any, two_organs: Callable[..., Any], method: str
) -> None:
    (query, _), (other, labels) = two_organs(shift=3, seed=1), two_organs()
    settings = dataclasses.replace(PROTOTYPES if method == "prototypes" else FAST, method=method)  # type: ignore[arg-type]
    support = [Support(other, only(labels, [4, 7, 9]))]
    free = segment(models, query, support, settings=settings)
    wide = segment(models, query, support, slice_range=SoftRange(0, query.shape[0]), settings=settings)
    np.testing.assert_array_equal(wide.labels.data, free.labels.data)
    soft = segment(models, query, support, slice_range=SoftRange(6, 9), settings=settings)
    assert np.flatnonzero(soft.labels.data.any((1, 2))).tolist() == [6, 7, 8]
    assert not any(p[[5, 9]].any() for p in soft.probability.values())
    if method == "learned":
        assert {r["origin"] for r in soft.report["organ_ranges"].values()} == {"height"}


def test_a_soft_range_beside_the_expected_place_is_searched_as_a_whole(
    models: Any, two_organs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (query, _), (other, labels) = two_organs(shift=3, seed=1), two_organs()
    far = OrganRange(0, 2, "height")
    monkeypatch.setattr("napari_medssl.oneshot.segmenter.organ_range", lambda *_: far)
    result = segment(models, query, [Support(other, only(labels, [4, 7, 9]))], slice_range=SoftRange(5, 11))
    assert result.report["organ_ranges"]["1"] == {"low": 5, "high": 11, "origin": "all"}
    assert result.labels.data[5:11].any()


@pytest.mark.parametrize("method", ["random-walker", "learned", "prototypes"])
def test_labels_outside_the_range_are_carried_into_it_but_not_written(
    models: Any, two_organs: Callable[..., Any], method: str
) -> None:
    query, truth = two_organs()
    settings = dataclasses.replace(PROTOTYPES, method=method)  # type: ignore[arg-type]
    result = segment(models, query, [Support(query, only(truth, [6]))], slice_range=(7, 10), settings=settings)
    found = result.labels.data
    assert np.flatnonzero(found.any((1, 2))).tolist() == [7, 8, 9]
    for organ in (1, 2):
        a, b = found[7:10] == organ, truth[7:10] == organ
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.6
        assert not result.probability[organ][[6, 10]].any()


def test_equal_requests_give_equal_results_and_keep_their_inputs(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    data, support = query.data.copy(), Support(query, only(truth, [7]))
    mask = support.mask.copy()
    first, second = (segment(models, query, [support]) for _ in range(2))
    np.testing.assert_array_equal(first.labels.data, second.labels.data)
    np.testing.assert_array_equal(query.data, data)
    np.testing.assert_array_equal(support.mask, mask)


def test_an_organ_with_a_high_label_is_not_folded_into_another(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    high = np.where(only(truth, [7], (1,)) == 1, 300, 0)
    result = segment(models, query, [Support(query, high)])
    assert set(np.unique(result.labels.data)) == {0, 300}
    assert result.labels.data.dtype == np.uint16


def test_labels_beyond_two_bytes_are_kept(models: Any, two_organs: Callable[..., Any], tmp_path: Path) -> None:
    query, truth = two_organs()
    high = np.where(only(truth, [7], (1,)) == 1, 70000, 0)
    labels = segment(models, query, [Support(query, high)]).labels
    assert labels.data.dtype == np.int32
    assert set(np.unique(labels.data)) == {0, 70000}
    write_segmentation(tmp_path / "out.nii.gz", labels)
    again = read(tmp_path / "out.nii.gz").data  # the reader turns the axes
    assert (again == 70000).sum() == (labels.data == 70000).sum() > 0


def test_a_label_no_file_can_hold_is_refused_before_any_work(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    high = np.where(only(truth, [7], (1,)) == 1, 1 << 31, 0)
    with pytest.raises(SupportError, match="the label 2147483648 of an example is too high"):
        next(segment_volume(query, [Support(query, high)], models=models))


def test_examples_that_expect_the_organ_elsewhere_do_not_silence_each_other(
    models: Any, two_organs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (query, _), (other, labels) = two_organs(shift=3, seed=1), two_organs()
    supports = [Support(other, np.where(labels == 1, 1, 0)) for _ in range(2)]

    def found(*spans: OrganRange) -> Segmentation:
        told = iter(spans)
        monkeypatch.setattr("napari_medssl.oneshot.segmenter._span", lambda *_: next(told))
        return segment(models, query, supports[: len(spans)])

    both = found(OrganRange(0, 14, "all"), OrganRange(0, 5, "height"))
    assert (both.labels.data[7] == 1).any()
    assert both.report["organ_ranges"] == {"1": {"low": 0, "high": 14, "origin": "all"}}
    apart = found(OrganRange(3, 6, "height"), OrganRange(8, 11, "height"))
    assert apart.report["organ_ranges"] == {"1": {"low": 3, "high": 11, "origin": "height"}}
    assert all((apart.labels.data[z] == 1).any() for z in (4, 5, 8, 9))


@pytest.mark.parametrize(("average", "inside"), [(0.37, False), (0.38, True)])
def test_across_scans_the_edge_lies_where_opinions_that_disagree_leave_it(
    models: Any, two_organs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, average: float, inside: bool
) -> None:
    (query, _), (other, labels) = two_organs(shift=3, seed=1), two_organs()

    def polished(found: np.ndarray, *rest: object, **more: object) -> Steps[np.ndarray]:
        yield Progress(1, 1, "")
        out = np.zeros_like(found)
        out[4:9, 20:40, 20:40] = average
        return out

    monkeypatch.setattr(segmenter, "polish_steps", polished)
    settings = dataclasses.replace(FAST, refine="")
    result = segment(models, query, [Support(other, np.where(labels == 1, 1, 0))], settings=settings)
    assert bool((result.labels.data == 1).any()) == inside


@pytest.mark.parametrize(
    ("chosen", "with_propagator", "within", "told"),
    [
        ("auto", True, True, "learned"),
        ("auto", False, True, "random-walker"),
        ("auto", True, False, "learned"),
        ("auto", False, False, "prototypes"),
        ("random-walker", True, True, "random-walker"),
        ("prototypes", True, True, "prototypes"),
        ("prototypes", False, False, "prototypes"),
    ],
)
def test_the_method_is_the_best_the_weights_allow_or_the_one_asked_for(
    request: pytest.FixtureRequest,
    two_organs: Callable[..., Any],
    chosen: str,
    with_propagator: bool,
    within: bool,
    told: str,
) -> None:
    models = request.getfixturevalue("models" if with_propagator else "models_without_propagator")
    (query, truth), (other, labels) = two_organs(seed=1), two_organs()
    support = Support(query, only(truth, [6, 7])) if within else Support(other, only(labels, [6, 7]))
    settings = dataclasses.replace(PROTOTYPES, method=chosen)  # type: ignore[arg-type]
    result = segment(models, query, [support], settings=settings)
    assert result.report["method"] == told
    assert (told in result.report["seconds"]) or not within
    assert min(dice(result, truth).values()) > 0.5


def test_without_a_propagator_the_learned_method_is_refused(
    models_without_propagator: Any, two_organs: Callable[..., Any]
) -> None:
    query, truth = two_organs()
    with pytest.raises(SettingsError, match="method 'learned' needs weights with a propagator; choose 'auto'"):
        segment(
            models_without_propagator,
            query,
            [Support(query, only(truth, [7]))],
            settings=SegmentSettings(method="learned"),
        )


@pytest.mark.parametrize(
    ("with_propagator", "told"), [(True, "learned"), (False, "random-walker within the scan, prototypes across scans")]
)
def test_a_mixed_run_reports_both_methods(
    request: pytest.FixtureRequest, two_organs: Callable[..., Any], with_propagator: bool, told: str
) -> None:
    models = request.getfixturevalue("models" if with_propagator else "models_without_propagator")
    (query, truth), (other, labels) = two_organs(seed=1), two_organs()
    supports = [Support(query, only(truth, [7], (1,))), Support(other, only(labels, [7], (2,)))]
    result = segment(models, query, supports, settings=dataclasses.replace(PROTOTYPES, method="auto"))
    assert result.report["method"] == told


def test_a_mixed_run_that_must_fail_fails_before_any_work(models: Any, two_organs: Callable[..., Any]) -> None:
    (query, truth), (other, labels) = two_organs(seed=1), two_organs()
    supports = [Support(query, only(truth, [7], (1,))), Support(other, only(labels, [7], (2,)))]
    with pytest.raises(SettingsError, match="a random walker cannot cross to another scan"):
        next(segment_volume(query, supports, models=models, settings=SegmentSettings(method="random-walker")))


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_run_stopped_halfway_leaves_the_next_one_as_if_it_had_not_been(
    models: Any, two_organs: Callable[..., Any], after: int
) -> None:
    query, truth = two_organs()
    support = [Support(query, only(truth, [7]))]
    segment(models, query, support, slice_range=(6, 9))  # leaves ways that can be continued
    steps = segment_volume(query, support, models=models, settings=FAST)
    for _ in range(after):
        next(steps)
    steps.close()
    stopped, fresh = segment(models, query, support), segment(type(models)(), query, support)
    for organ in (1, 2):
        np.testing.assert_array_equal(stopped.probability[organ], fresh.probability[organ])


def test_a_random_walker_does_not_cross_to_another_scan(models: Any, two_organs: Callable[..., Any]) -> None:
    (query, _), (other, labels) = two_organs(seed=1), two_organs()
    with pytest.raises(SettingsError, match="a random walker cannot cross to another scan; choose 'auto'"):
        segment(models, query, [Support(other, labels)], settings=SegmentSettings(method="random-walker"))


def test_an_unknown_refinement_is_refused_before_any_work(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    steps = segment_volume(
        query, [Support(query, only(truth, [7]))], models=models, settings=SegmentSettings(refine="holes, sharpen")
    )
    with pytest.raises(SettingsError, match="no refinement step is called 'sharpen'"):
        next(steps)


def test_no_example_is_told(models: Any, two_organs: Callable[..., Any]) -> None:
    with pytest.raises(SupportError, match="no labelled example was given"):
        segment(models, two_organs()[0], [])


@pytest.mark.parametrize("text", ["", "holes", "connected, holes", "smooth connected holes random-walk"])
def test_refinement_steps_are_those_named_in_order(
    models: Any, two_organs: Callable[..., Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def spied(name: str, step: Any) -> Any:
        def call(probability: np.ndarray, context: Any) -> np.ndarray:
            called.append(name)
            assert sorted(context.anchors) == [7]
            return step(probability, context)  # type: ignore[no-any-return]

        return call

    monkeypatch.setattr(refiners, "_factories", {n: spied(n, refiners[n]) for n in refiners})
    query, truth = two_organs()
    settings = dataclasses.replace(FAST, refine=text)
    segment(models, query, [Support(query, only(truth, [7], (1,)))], settings=settings)
    assert called == text.replace(",", " ").split()


@pytest.mark.parametrize("text", ["connected holes", "smooth", "random-walk", "smooth connected random-walk holes"])
@pytest.mark.parametrize("spacing_mm", [(5.0, 1.2, 1.2), (1.0, 3.0, 2.0)])
def test_refining_the_box_of_an_organ_is_refining_the_whole(
    two_organs: Callable[..., Any], text: str, spacing_mm: tuple[float, float, float]
) -> None:
    query, truth = two_organs(depth=40)
    query = Volume(query.data, np.diag([*spacing_mm, 1.0])[:, [2, 1, 0, 3]], "MR")
    rng = np.random.default_rng(1)
    map_ = np.where(truth == 1, 0.8, 0.0)
    map_[20:22, 50:52, 40:43] = 0.7  # a speck
    map_[30] *= rng.random(map_.shape[1:]) > 0.1  # holes
    found = map_.astype(np.float16)
    slices = {20: truth[20] == 1, 39: np.zeros((64, 64), bool)}
    run = segmenter._Run(query, None, FAST, (0.0, 200.0), None)  # type: ignore[arg-type]
    whole = found.astype(np.float32)
    for name in text.split():
        whole = refiners[name](whole, RefineContext(query, run.limits, slices))
    box = segmenter._box_above_zero(found, query.spacing_mm)
    assert box is not None
    assert found[box].size < found.size
    segmenter._refine_organ(run, found, slices, text.split())
    np.testing.assert_allclose(found.astype(np.float32), whole.astype(np.float16).astype(np.float32), atol=1e-3)


def test_a_map_of_nothing_needs_no_refinement(two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    run = segmenter._Run(query, None, FAST, (0.0, 200.0), None)  # type: ignore[arg-type]
    empty = np.zeros(truth.shape, np.float16)
    segmenter._refine_organ(run, empty, {}, ["holes"])
    assert not empty.any()


def test_the_report_is_ready_for_json_and_says_what_was_done(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    report = segment(models, query, [Support(query, only(truth, [7]), NAMES)]).report
    told = json.loads(json.dumps(report, allow_nan=False))
    assert told["method"] == "learned"
    assert told["organs"] == {"1": "liver", "2": "spleen"}
    assert told["slice_range"] is None
    assert set(told["seconds"]) == {"learned", "refine"}
    assert all(s >= 0 for s in told["seconds"].values())
    assert told["warnings"] == []


def test_progress_is_told_and_work_can_be_stopped(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    reports: list[Progress] = []
    support = [Support(query, only(truth, [7]))]
    finish(segment_volume(query, support, models=models, settings=FAST), reports.append)
    assert len(reports) > 3
    assert all(0 <= r.fraction <= 1 and r.label for r in reports)
    steps = segment_volume(query, support, models=models, settings=FAST)
    next(steps)
    steps.close()


def maps(**values: list[float]) -> dict[int, np.ndarray]:
    return {int(k[1:]): np.array(v, np.float16).reshape(-1, 1, 1) for k, v in values.items()}


def test_the_most_probable_organ_wins_where_any_reaches_the_threshold() -> None:
    found = compete(maps(o1=[0.9, 0.4, 0.6, 0.0, 0.5], o5=[0.8, 0.45, 0.7, 0.5, 0.2]), 0.5, None)
    assert found.ravel().tolist() == [1, 0, 5, 5, 1]
    assert found.dtype == np.uint8


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.99])
def test_the_threshold_is_inclusive_in_the_precision_of_the_maps(threshold: float) -> None:
    just = np.float16(threshold)
    below = np.nextafter(just, np.float16(0))
    assert compete(maps(o3=[float(just), float(below)]), threshold, None).ravel().tolist() == [3, 0]


def test_competition_stays_in_the_range() -> None:
    assert compete(maps(o1=[1.0] * 5), 0.5, (1, 3)).ravel().tolist() == [0, 1, 1, 0, 0]


def test_without_a_share_the_random_walker_has_no_say(
    models: Any, two_organs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    query, truth = two_organs()
    support = [Support(query, only(truth, [7]))]
    both = segment(models, query, support, slice_range=(4, 12))
    monkeypatch.setattr("napari_medssl.oneshot.within_scan.diffuse_near", lambda *a, **k: pytest.fail("asked"))
    alone = segment(models, query, support, slice_range=(4, 12), settings=dataclasses.replace(FAST, walker_share=0.0))
    assert min(dice(alone, truth).values()) > 0.8
    assert np.abs(both.probability[1] - alone.probability[1]).max() > 0.01


def test_a_quadrant_mask_keeps_an_organ_on_its_side(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    support = [Support(query, only(truth, [7]), NAMES)]
    free = segment(models, query, support)
    first = free.labels.data == 1
    columns = np.flatnonzero(first.any(axis=(0, 1)))
    low, high = plane_directions(query)[1]
    sides = (low, high) if columns.mean() < query.shape[2] / 2 else (high, low)
    for wanted, kept in zip(sides, (True, False), strict=True):
        settings = dataclasses.replace(FAST, quadrants=QuadrantSettings(source="manual", manual=wanted))
        found = segment(models, query, support, settings=settings).labels.data == 1
        others = np.arange(len(truth)) != 7  # the painted slice stays as it is
        assert (found[others] & first[others]).any() == kept


class Doubter(torch.nn.Module):
    """A reviser that keeps of the first answer what lies in the upper half of its crop."""

    crop_size, guided = 48, True

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        assert inputs.shape[1] == 12
        kept = inputs[:, 9].clone()
        kept[:, 24:] = -1
        return 8 * kept


def sliced(volume: Volume, mm: float) -> Volume:
    """The same array with other distances between its slices."""
    return dataclasses.replace(volume, affine=np.diag([mm, *volume.spacing_mm[1:], 1.0]))


def test_the_reviser_sees_the_first_answer_and_its_own_counts_half(models: Any, two_organs: Callable[..., Any]) -> None:
    query, truth = two_organs()
    query = sliced(query, 3.0)
    support = [Support(query, only(truth, [7]))]
    first = segment(models, query, support, settings=SegmentSettings(refine="")).probability[1]
    models.reviser = Doubter()
    once = SegmentSettings(refine="", revisions=1)
    revised = segment(models, query, support, settings=once).probability[1]
    np.testing.assert_array_equal(revised[7], first[7])  # what is labelled stays
    sure = first.astype(np.float32) > 0.95
    sure[7] = False
    halved = revised[sure].astype(np.float32)
    assert halved.size > 50
    assert (np.abs(halved - first[sure].astype(np.float32)) < 0.05).mean() > 0.2  # confirmed
    assert (np.abs(halved - 0.62) < 0.05).mean() > 0.2  # doubted: a half, whose odds are then raised by 5 / 3
    untouched = segment(models, query, support, settings=SegmentSettings(refine="", revisions=0)).probability[1]
    np.testing.assert_array_equal(untouched, first)


class Listener(torch.nn.Module):
    """A reviser that notes whether it has a guide, and keeps the mask before."""

    crop_size, guided = 48, True

    def __init__(self) -> None:
        super().__init__()
        self.guides: set[bool] = set()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.guides.add(bool((inputs[:, 9:11] != 0).any()))
        return 8 * inputs[:, 3]


@pytest.mark.parametrize(("mm", "with_guides"), [(3.0, {True}), (4.5, {True, False}), (8.0, {True, False})])
def test_through_thick_slices_the_reviser_walks_first(
    models: Any, two_organs: Callable[..., Any], mm: float, with_guides: set[bool]
) -> None:
    query, truth = two_organs()
    models.reviser = Listener()
    walked = models.propagator
    calls: list[int] = []
    handle = walked.register_forward_hook(lambda *_: calls.append(1))
    segment(
        models, sliced(query, mm), [Support(sliced(query, mm), only(truth, [7]))], settings=SegmentSettings(refine="")
    )
    handle.remove()
    assert models.reviser.guides == with_guides
    assert bool(calls) == (mm < 6)
