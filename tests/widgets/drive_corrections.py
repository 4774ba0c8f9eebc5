"""Drive confidence, suggestion and strokes in a real viewer window with the mouse, and print the outcome as JSON.

    python -m tests.widgets.drive_corrections SCAN OUT --truth LABELS [--organs 1 2 ...]

SCAN is a file, or "phantom MR" / "phantom CT". Screenshots go to OUT. It needs a display: start it under
`xvfb-run -a -s "-screen 0 1400x900x24"` on a machine without one.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_medssl.bench.simulated_user import next_stroke
from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets.segment import OneShotWidget
from tests.widgets.drive_viewer import Driver, options_of, segment


def label_from_truth(driver: Driver, widget: OneShotWidget, truth: Labels, z: int) -> None:
    """Press "Use this slice" on slice `z` of the truth."""
    widget.panel.source.choose(truth)
    widget.go_to_slice(z)
    driver.settle()
    widget.use_slice()  # the box it stands in is folded
    driver.settle()


def suggest(driver: Driver, widget: OneShotWidget) -> str:
    """Press the button and wait for the sentence."""
    before = widget.panel.suggestion.text()
    driver.press(widget.panel.suggest_button)
    driver.wait(lambda: widget.panel.suggestion.text() not in (before, "Looking at the result …"), "the suggestion")
    driver.settle()
    return str(widget.panel.suggestion.text())


def stroke(driver: Driver, widget: OneShotWidget, true: np.ndarray) -> dict[str, Any]:
    """Paint or wipe with the mouse through the worst region, as the simulated user does, and press Spread strokes."""
    layer, image = widget.result, widget.image
    assert layer is not None
    assert image is not None
    known = np.flatnonzero(np.asarray(widget.support.data).any(axis=(1, 2)))  # type: ignore[union-attr]
    made = next_stroke(layer.data, true, spacing_mm=tuple(image.scale), without=known.tolist())
    assert made is not None, "nothing is wrong"
    z, value = int(made.at[0, 0]), int(made.values[0])
    widget.go_to_slice(z)
    driver.viewer.layers.selection.active = layer
    layer.mode = "erase" if value == 0 else "paint"
    layer.selected_label = value or 1
    layer.brush_size = 3
    before = layer.data.copy()
    order = np.lexsort((made.at[:, 1], made.at[:, 2]))
    driver.stroke([tuple(image.data_to_world(at)) for at in made.at[order][::6]])
    painted = widget.corrections.pending()
    assert painted is not None, "the brush painted nothing"
    driver.picture("4-stroke")
    seen: list[Any] = []
    widget.outcome.shown.connect(seen.append)
    start = time.monotonic()
    driver.press(widget.panel.spread_button)
    driver.wait(lambda: bool(seen) and not widget.panel.work.running, "the corrected result")
    seconds = time.monotonic() - start
    layer = widget.result
    assert layer is not None
    return {
        "slice": z,
        "value": value,
        "painted": len(painted),
        "changed": int((layer.data != before).sum()),
        "holds": bool((layer.data[painted.index] == painted.values).all()),
        "seconds": seconds,
    }


def dice(widget: OneShotWidget, true: np.ndarray) -> float:
    """Of all organs together."""
    found = widget.result.data  # type: ignore[union-attr]
    same = ((found == true) & (true > 0)).sum()
    return float(2 * same / max(1, (found > 0).sum() + (true > 0).sum()))


def main(arguments: list[str]) -> int:
    options = options_of(arguments, __doc__)
    driver = Driver(options.out)
    widget, labels = driver.open(options.scan, options.truth)
    true = np.where(np.isin(labels.data, options.organs), labels.data, 0).astype(np.uint8)
    truth = driver.viewer.add_labels(true, name="truth of these organs", visible=False, scale=labels.scale,
                                     translate=labels.translate, units=labels.units)  # fmt: skip
    for organ in options.organs:
        area = (true == organ).sum(axis=(1, 2))
        label_from_truth(driver, widget, truth, int(area.argmax()))
    widget.panel.truth.choose(truth)
    facts: dict[str, Any] = {"scan": options.scan, "first": segment(driver, widget, "0-running")}
    facts["dice"] = [dice(widget, true)]

    driver.press(widget.panel.confidence)
    driver.wait(lambda: any(role_of(one)[0] == "confidence" for one in driver.viewer.layers), "the confidence layer")
    facts["suggestions"] = [suggest(driver, widget) for _ in range(2)]
    driver.picture("1-suggested")
    label_from_truth(driver, widget, truth, widget.current_slice())
    facts["second"] = segment(driver, widget, "2-running-again")
    facts["dice"].append(dice(widget, true))
    driver.picture("3-second")
    driver.press(widget.panel.confidence)

    facts["stroke"] = stroke(driver, widget, true)
    facts["dice"].append(dice(widget, true))
    driver.picture("5-spread")
    there = np.flatnonzero((true == options.organs[0]).any(axis=(1, 2)))
    widget.panel.organs.select(options.organs[0])
    widget.go_to_slice(int(there[-1]) + 1)
    driver.press(widget.panel.absent_button)
    facts["support"] = widget.panel.support_text.text()
    facts["third"] = segment(driver, widget, "6-running-third")
    facts["dice"].append(dice(widget, true))
    facts["strokes_kept"] = len(widget.corrections.strokes())
    driver.picture("7-not-here")
    return driver.end(facts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
