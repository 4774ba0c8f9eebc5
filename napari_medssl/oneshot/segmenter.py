"""The whole way from a scan and labelled slices to organs: match, carry, refine, compete."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from napari_medssl.errors import SettingsError, SupportError
from napari_medssl.intensity import window_limits
from napari_medssl.labels import Label
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import out_of_frame
from napari_medssl.oneshot.anchors import anchors_of, organs_of, split_supports, within_range
from napari_medssl.oneshot.diffusion import diffuse_steps
from napari_medssl.oneshot.edge import widen
from napari_medssl.oneshot.opinion import Example, Opinion, opinion_steps
from napari_medssl.oneshot.polish import polish_steps
from napari_medssl.oneshot.provider import Models
from napari_medssl.oneshot.quadrants import organ_region
from napari_medssl.oneshot.reference import reference_steps
from napari_medssl.oneshot.refine import REACH_MM, RefineContext, refiners
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.scribbles import with_corrections
from napari_medssl.oneshot.settings import Method, SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.oneshot.transfer import Labelled, OrganMatch, OrganRange, labelled_slices, organ_range
from napari_medssl.oneshot.volume_features import VolumeFeatures, chosen_features
from napari_medssl.oneshot.within_scan import Maps, Walk, first_walk_steps, within_scan_steps
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import SoftRange, Volume

_ACROSS = 1.25  # times the weight within a scan: what the weights know is surer than a match (CT 0.877 to 0.910)
_NOWHERE = -20.0  # logit on slices where no example expects the organ
_CHUNK = 16  # slices brought to the scan's resolution at a time


@dataclass
class _Run(Walk):
    """What one segmentation carries from step to step."""

    models: Models
    seconds: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def exact_range(self) -> tuple[int, int] | None:
        """The range, where organs of other scans fill it."""
        return None if isinstance(self.slice_range, SoftRange) else self.slice_range

    def timed(self, name: str, start: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def segment_volume(
    query: Volume,
    supports: Sequence[Support],
    *,
    models: Models,
    slice_range: tuple[int, int] | None = None,
    settings: SegmentSettings | None = None,
) -> Steps[Segmentation]:
    """Segment every organ of `supports` in `query`.

    Organs labelled on slices of the query itself are carried outward from there; the others are found by matching
    features of the labelled scan. slice_range: half-open range of slices to segment; None for all. Outside it the
    result is 0 even on labelled slices, which still serve as examples. An organ of another scan is taken to fill it,
    unless it is a `SoftRange`: then the organ's place comes from aligning the scans, as without a range.

    Yields Progress; returns the Segmentation with a report of what was done. On slices of the range that
    the user labelled, the labels of the organs painted there are the user's own; strokes and absences of the supports
    hold everywhere (see `with_corrections`).
    """
    settings = settings or SegmentSettings()
    names = _refiner_names(settings.refine)
    here, elsewhere = split_supports(query, supports)
    organs = organs_of(supports)
    _label_type(max(o.value for o in organs))  # refuse now rather than after the work
    anchors = anchors_of(here)
    models = chosen_features(models, settings)
    run = _Run(query, models, settings, window_limits(query, settings.intensity), slice_range)
    foreign = [o for o in organs if o.value not in anchors]
    methods = _methods(run, within=bool(anchors), across=bool(foreign))  # refuse now rather than after half the work
    probability: Maps = {}
    if anchors:
        probability.update((yield from _within(run, here, within_range(anchors, slice_range), organs)))
    if foreign:
        probability.update((yield from _across(run, elsewhere, foreign)))
    probability = {o.value: probability[o.value] for o in organs}
    for organ in organs:
        _restrict(run, probability, organ, supports)
        if isinstance(slice_range, SoftRange):
            _cut_off(probability[organ.value], slice_range)
    yield from _refine(run, probability, anchors, names)
    labels = compete(probability, settings.threshold, slice_range)
    _restore_painted(labels, anchors, slice_range)
    report = {
        "method": methods,
        "organs": {str(o.value): o.name for o in organs},
        "recognised": {str(organ): asdict(known) for organ, known in run.known.items()},
        "slice_range": list(slice_range) if slice_range else None,
        "organ_ranges": run.ranges,
        "seconds": run.seconds,
        "warnings": run.warnings,
    }
    if isinstance(models, VolumeFeatures):
        report["features"] = models.facts
    result = Segmentation(query.like(labels, organs), probability, report)
    return with_corrections(query, result, here, settings=settings)


def _methods(run: _Run, *, within: bool, across: bool) -> str:
    """For the report: the method, or both where organs labelled here and organs of other scans go different ways."""
    here = [_method(run, within=True)] if within else []
    there = [_method(run, within=False)] if across else []
    if here and there and here != there:
        return f"{here[0]} within the scan, {there[0]} across scans"
    return (here or there)[0]


def _method(run: _Run, *, within: bool) -> Method:
    chosen = run.settings.method
    if chosen == "learned" and run.models.propagator is None:
        raise SettingsError("method 'learned' needs weights with a propagator; choose 'auto' or other weights")
    if chosen == "random-walker" and not within:
        raise SettingsError("a random walker cannot cross to another scan; choose 'auto' or 'prototypes'")
    if chosen != "auto":
        return chosen
    if run.models.propagator is not None:
        return "learned"
    return "random-walker" if within else "prototypes"


def _within(
    run: _Run, here: Sequence[Support], anchors: dict[int, dict[int, np.ndarray]], organs: Sequence[Label]
) -> Steps[Maps]:
    method = _method(run, within=True)
    start = time.perf_counter()
    if method == "prototypes":
        chosen = [o for o in organs if o.value in anchors]
        maps = yield from reference_steps(
            run.query,
            here,
            chosen,
            models=run.models,
            settings=run.settings,
            slice_range=run.slice_range,
            across=False,
        )
    elif method == "random-walker":
        maps = yield from diffuse_steps(run.query, anchors, limits=run.limits, slice_range=run.slice_range)
    else:
        # The second opinion needs the way from a labelled slice outside the range into it.
        maps = yield from within_scan_steps(run, anchors)
        for found in maps.values():
            _cut_off(found, run.slice_range)
    run.timed(method, start)
    return maps


def _across(run: _Run, supports: Sequence[Support], organs: Sequence[Label]) -> Steps[Maps]:
    method = _method(run, within=False)
    if method == "prototypes":
        start = time.perf_counter()
        maps = yield from reference_steps(
            run.query,
            supports,
            organs,
            models=run.models,
            settings=run.settings,
            slice_range=run.exact_range,
            across=True,
        )
        run.timed("prototypes", start)
        return maps
    start = time.perf_counter()
    stack = yield from run.models.features_steps(run.query)
    stacks = []
    for support in supports:
        stacks.append((yield from run.models.features_steps(support.volume)))
    run.timed("features", start)
    maps = {}
    for i, organ in enumerate(organs):
        yield Progress(i, len(organs), f"finding {organ.name}")
        start = time.perf_counter()
        opinion = yield from _recognise(run, supports, organ)
        run.timed("recognition", start)
        start = time.perf_counter()
        examples = _examples(organ, supports, stacks, stack)
        found, span = _match(run, stack, examples, organ)
        if opinion is not None and opinion.agrees_with(found, low=span.low, high=span.high):
            run.known[organ.value] = opinion.known
            if run.exact_range is None:  # where the organ begins and ends is known better than from the scans' heights
                extent = opinion.extent(found)
                del found
                found, span = _match(run, stack, examples, organ, extent=extent)
            share = min(1.0, _ACROSS * run.settings.known_share)
            yield from opinion.blend_steps(found, share, low=span.low, high=span.high)
        del opinion, examples
        run.timed("match", start)
        start = time.perf_counter()
        steps = polish_steps(found, span, carry=lambda a: first_walk_steps(run, a), query=run.query, limits=run.limits)
        del found  # polishing lets go of it, too: a float32 scan less while the walkers are under way
        polished = yield from steps
        widen(polished)
        maps[organ.value] = polished.astype(np.float16)
        run.timed("learned", start)
    return maps


@dataclass(frozen=True)
class _Matched:
    """A support that shows an organ: its features, its labelled slices, and how they match the query."""

    support: Support
    stack: FeatureStack
    labelled: Labelled
    match: OrganMatch


def _examples(
    organ: Label, supports: Sequence[Support], stacks: Sequence[FeatureStack], query: FeatureStack
) -> list[_Matched]:
    found = []
    for support, stack in zip(supports, stacks, strict=True):
        labelled = labelled_slices(support, stack, organ.value)
        if labelled is not None:
            found.append(_Matched(support, stack, labelled, OrganMatch(labelled, query.data)))
    if not found:
        raise SupportError(f"{organ.name} is labelled on no slice of any example; paint it on at least one slice")
    return found


def _match(
    run: _Run,
    stack: FeatureStack,
    examples: Sequence[_Matched],
    organ: Label,
    *,
    extent: tuple[int, int] | None = None,
) -> tuple[np.ndarray, OrganRange]:
    """Coarse (Z, Y, X) float32 probability of one organ and the slices it was looked for on.

    On each slice it is the mean over the scans that have the organ labelled and expect it there; elsewhere 0. extent:
    slices on which the organ was recognised, when no range is given.
    """
    depth, _, height, width = stack.data.shape
    total = torch.zeros(depth, height, width)
    spans = []
    for example in examples:
        span = _span(run, example, stack, extent)
        with torch.inference_mode():
            logits = example.match.logits(span)
        span = _within_soft(span, run.slice_range)
        total[span.low : span.high] += logits[span.low : span.high]
        spans.append(span)
    count = torch.zeros(len(total))
    for span in spans:
        count[span.low : span.high] += 1
    mean = total / count.clamp(min=1)[:, None, None]
    mean[count == 0] = _NOWHERE
    joined = _union(spans)
    run.ranges[str(organ.value)] = {"low": joined.low, "high": joined.high, "origin": joined.origin}
    found = np.empty(run.query.shape, np.float32)
    for start in range(0, len(found), _CHUNK):
        part = out_of_frame(mean[start : start + _CHUNK], stack.frame)
        found[start : start + _CHUNK] = torch.sigmoid(part).numpy()
    return found, joined


def _recognise(run: _Run, supports: Sequence[Support], organ: Label) -> Steps[Opinion | None]:
    """Where the organ lies by what the weights know, if they recognise it in one of the labelled scans."""
    if not run.settings.known_share:
        return None
    examples = []
    for support in supports:
        mask = support.mask == organ.value
        slices = {int(z): mask[z] for z in np.flatnonzero(mask.any((1, 2)))}
        examples.append(Example(support.volume, window_limits(support.volume, run.settings.intensity), slices))
    return (yield from opinion_steps(run.query, examples, run.models, run.limits))


def _union(spans: Sequence[OrganRange]) -> OrganRange:
    """From the lowest to the highest slice of all; its origin is the least certain one."""
    origins = [span.origin for span in spans]
    origin = next(o for o in ("all", "height", "recognised", "given") if o in origins)
    return OrganRange(min(s.low for s in spans), max(s.high for s in spans), origin)


def _restrict(run: _Run, probability: Maps, organ: Label, supports: Sequence[Support]) -> None:
    """Keep an organ in its quadrants (S63), when the settings ask for it."""
    if run.settings.quadrants.source == "off":
        return
    labelled = [(s.volume, s.mask == organ.value) for s in supports if (s.mask == organ.value).any()]
    region = organ_region(run.query, run.settings.quadrants, organ=organ.name, supports=labelled)
    run.warnings.extend(region.warnings)
    if region.weight is not None:
        probability[organ.value] = (probability[organ.value] * region.weight).astype(np.float16)


def _span(run: _Run, example: _Matched, stack: FeatureStack, extent: tuple[int, int] | None) -> OrganRange:
    if run.exact_range is not None:
        return OrganRange(*run.exact_range, "given")
    if extent is not None:
        span = OrganRange(*extent, "recognised")
    else:
        distances = (example.support.volume.spacing_mm[0], run.query.spacing_mm[0])
        span = organ_range(example.labelled, example.stack.data, stack.data, *distances)
    soft = run.slice_range
    if soft is not None and (span.high <= soft[0] or soft[1] <= span.low):
        return OrganRange(*soft, "all")  # the scans were aligned wrongly: the organ may lie anywhere in its range
    return span


def _within_soft(span: OrganRange, limits: tuple[int, int] | None) -> OrganRange:
    """The part of a span that a soft range leaves; it was matched before, as what it is of the whole."""
    if not isinstance(limits, SoftRange):
        return span
    return OrganRange(max(span.low, limits.low), min(span.high, limits.high), span.origin)


def _cut_off(found: np.ndarray, slice_range: tuple[int, int] | None) -> None:
    if slice_range is not None:
        found[: slice_range[0]] = 0
        found[slice_range[1] :] = 0


def _refiner_names(text: str) -> list[str]:
    names = text.replace(",", " ").split()
    for name in names:
        refiners[name]  # raises SettingsError with the known names
    return names


def _refine(
    run: _Run, probability: Maps, anchors: Mapping[int, Mapping[int, np.ndarray]], names: list[str]
) -> Steps[None]:
    start = time.perf_counter()
    for i, (organ, found) in enumerate(probability.items()):
        if names:
            yield Progress(i, len(probability), "refining")
            _refine_organ(run, found, anchors.get(organ, {}), names)
    run.timed("refine", start)


def _refine_organ(run: _Run, found: np.ndarray, slices: Mapping[int, np.ndarray], names: list[str]) -> None:
    """Refine a float16 map in place, in the box of what is not zero and as far around as a step may look."""
    box = _box_above_zero(found, run.query.spacing_mm)
    if box is None:
        return
    extent, *plane = box
    corner = np.eye(4)
    corner[:3, 3] = [s.start for s in box]
    query = Volume(run.query.data[box], run.query.affine @ corner, run.query.modality)
    masks = {z - extent.start: m[tuple(plane)] for z, m in slices.items() if extent.start <= z < extent.stop}
    context = RefineContext(query, run.limits, masks)
    refined = found[box].astype(np.float32)
    for name in names:
        refined = refiners[name](refined, context)
    found[box] = refined


def _box_above_zero(found: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice] | None:
    plane = np.zeros(found.shape[1:], bool)
    for z in range(len(found)):  # slice by slice: comparing the whole map would take half of its memory again
        plane |= found[z] > 0
    if not plane.any():
        return None
    used = (np.asarray(found.any(axis=(1, 2))), plane.any(1), plane.any(0))
    out = []
    for hit, mm in zip(used, spacing_mm, strict=True):
        extra = int(np.ceil(REACH_MM / mm)) + 1
        where = np.flatnonzero(hit)
        out.append(slice(max(0, int(where[0]) - extra), min(int(hit.size), int(where[-1]) + 1 + extra)))
    return out[0], out[1], out[2]


def compete(probability: Mapping[int, np.ndarray], threshold: float, slice_range: tuple[int, int] | None) -> np.ndarray:
    """(Z, Y, X) labels: the organ with the highest probability of at least `threshold`.

    uint8, or uint16 (int32 beyond 65535) when a label needs it. Raises SupportError for labels above 2147483647.
    """
    values = list(probability)
    shape = probability[values[0]].shape
    labels = np.zeros(shape, _label_type(max(values)))
    low, high = slice_range or (0, shape[0])
    best = np.full(shape, np.float16(threshold), np.float16)
    for value in values:
        wins = probability[value] >= best
        wins[:low] = False
        wins[high:] = False
        labels[wins] = value
        best[wins] = probability[value][wins]
    return labels


def _label_type(highest: int) -> type[np.unsignedinteger | np.signedinteger]:
    if highest > np.iinfo(np.int32).max:
        raise SupportError(
            f"the label {highest} of an example is too high; label numbers above 2147483647 are not supported"
        )
    return np.uint8 if highest < 1 << 8 else np.uint16 if highest < 1 << 16 else np.int32


def _restore_painted(
    labels: np.ndarray, anchors: Mapping[int, Mapping[int, np.ndarray]], slice_range: tuple[int, int] | None
) -> None:
    low, high = slice_range or (0, len(labels))
    for organ, slices in anchors.items():
        for z, mask in slices.items():
            if low <= z < high:
                labels[z][labels[z] == organ] = 0
                labels[z][mask] = organ
