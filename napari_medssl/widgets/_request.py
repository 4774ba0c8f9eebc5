"""What a run needs, taken from the layers in the GUI thread, and the run itself for a worker thread."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layers import organs_of
from napari_medssl.widgets._scan import Scan, scan_of
from napari_medssl.widgets._support import check_mask

if TYPE_CHECKING:
    from napari.layers import Image, Labels


@dataclass(frozen=True, eq=False)
class Example:
    """A labelled scan. mask: a copy of the labels, so that painting goes on while the run works."""

    scan: Scan
    mask: np.ndarray
    labels: tuple[Label, ...]


@dataclass(frozen=True, eq=False)
class RunRequest:
    """One press of Segment.

    slice_range: half-open, None for all slices. strokes, absent: corrections of the scan, see `Support`.
    """

    query: Scan
    examples: tuple[Example, ...]
    slice_range: tuple[int, int] | None
    settings: Any
    strokes: tuple[Stroke, ...] = ()
    absent: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def steps(self, handle: EngineHandle) -> Steps[Segmentation]:
        """Load what is not loaded yet and segment; everything slow happens here."""
        yield Progress(0, 0, "Loading the model")
        engine = handle.get()
        yield Progress(0, 0, "Reading the scan")
        query = self.query.volume()
        supports = [
            # The scan itself as example keeps its one Volume: the engine then recognises it by identity.
            Support(
                query if example.scan.data is self.query.data else example.scan.volume(), example.mask, example.labels
            )
            for example in self.examples
        ]
        supports += corrections_of(query, self.strokes, self.absent)
        result = yield from engine.segment_steps(query, supports, slice_range=self.slice_range, settings=self.settings)
        repairs = () if query is self.query.template else query.notes
        warnings = [*repairs, *result.report.get("warnings", ())]
        return dataclasses.replace(result, report=result.report | {"warnings": warnings})


def corrections_of(query: Volume, strokes: tuple[Stroke, ...], absent: Mapping[int, tuple[int, ...]]) -> list[Support]:
    """What was said of a scan beside its labelled slices, as a support without any; none when nothing was."""
    if not strokes and not absent:
        return []
    return [Support(query, np.zeros(query.shape, np.uint8), strokes=strokes, absent=absent)]


def example_of(image: Image | None, labels: Labels) -> Example:
    """An example from two layers.

    Raises MedSSLError when the image is no scan, SupportError when the labels are on another grid or empty.
    """
    scan = scan_of(image)
    mask = np.array(labels.data)
    check_mask(mask, scan, labels.name)
    return Example(scan, mask, organs_of(labels))


def request_of(
    image: Image | None,
    support: Labels | None,
    other: tuple[Image | None, Labels] | None,
    slice_range: tuple[int, int] | None,
    settings: Any,
) -> RunRequest:
    """Check everything that can be checked at once, before a run starts.

    support: labels on the scan itself; may be missing or empty when there is `other`, a labelled other scan.
    Raises MedSSLError with what to do.
    """
    query = scan_of(image)
    examples = []
    if support is not None and (other is None or np.asarray(support.data).any()):
        examples.append(example_of(image, support))
    if other is not None:
        examples.append(example_of(*other))
    if not examples:
        raise SupportError(
            "no organ is labelled yet; press Click and click an organ on one slice (or paint it with Brush), "
            "then press Segment"
        )
    return RunRequest(query, tuple(examples), slice_range, settings)
