"""The looking side of the slice classification: curve, findings, worklist, evidence, slice range, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_medssl.errors import MedSSLError
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._evidence import show_evidence
from napari_medssl.widgets._findings_table import WorkRow
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._scan import scan_of
from napari_medssl.widgets._score_curve import ScoreLine
from napari_medssl.widgets._slice_marking import is_usable
from napari_medssl.widgets._slice_range import use_range
from napari_medssl.widgets._slice_work import Outcome, explain_steps, export_steps

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medssl.classify.explain.explain import Explanation
    from napari_medssl.classify.slices.marks import SliceMarks
    from napari_medssl.classify.slices.scores import SliceScores
    from napari_medssl.widgets._classify_panel import ClassifyPanel

_NO_SCORES = "There are no scores yet: mark slices and press Learn."
_GREY = (153, 153, 153)

Colors = Mapping[str, tuple[int, int, int]]


class SliceOutcome(QObject):
    """Shows what a head says of the open scans.

    outcome: the head in use and the scores by the id of the scan's layer; None before the first Learn.
    """

    def __init__(self, viewer: Viewer, panel: ClassifyPanel, engine: EngineHandle, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._panel, self._engine, self._parent = viewer, panel, engine, parent
        self.outcome: Outcome | None = None
        self.image: Image | None = None

    @property
    def scores(self) -> SliceScores | None:
        """Of the scan that is looked at; None before Learn."""
        if self.outcome is None or self.image is None:
            return None
        return self.outcome.scores.get(str(self.image.unique_id))

    def take(self, outcome: Outcome, images: list[Image]) -> None:
        """Use another head with its scores; those of scans that are gone are dropped."""
        live = {str(image.unique_id) for image in images}
        scores = {key: found for key, found in outcome.scores.items() if key in live}
        self.outcome = Outcome(outcome.head, scores, outcome.notes)
        card = outcome.head.card
        scans = card.get("marked_scans", 0)
        learned = f"{card.get('marked_slices', 0)} slices of {scans} scan{'' if scans == 1 else 's'}"
        notes = "".join(f"\n{note[:1].upper()}{note[1:]}." for note in outcome.head.notes)
        names = ", ".join(outcome.head.classes)
        self._panel.learned_text.setText(f"Learned {names} from {learned} in {card.get('seconds', 0):.1f} s.{notes}")

    def forget(self, image: Image) -> None:
        """Drop the scores of a scan that is gone."""
        if self.outcome is not None:
            self.outcome.scores.pop(str(image.unique_id), None)

    def refresh(self, colors: Colors) -> None:
        """Show curve and findings of the scan that is looked at."""
        from napari_medssl.classify.slices.findings import findings

        panel, scores, outcome = self._panel, self.scores, self.outcome
        depth = int(self.image.data.shape[0]) if self.image is not None and is_usable(self.image) else 0
        if scores is None or outcome is None or len(scores.probability) != depth:
            panel.curve.show_scores(depth, ())
            panel.findings.show_rows((), {})
            return
        thresholds = outcome.head.threshold_of
        lines = []
        for name in scores.classes:
            probability, spread = scores.of(name)
            lines.append(
                ScoreLine(name, colors.get(name, _GREY), probability.tolist(), spread.tolist(), thresholds[name])
            )
        panel.curve.show_scores(depth, lines)
        panel.findings.show_rows(findings(scores, thresholds), dict(colors))
        self._offer_classes(scores.classes)

    def refresh_worklist(self, marked: Mapping[str, int], images: list[Image]) -> None:
        """Show all scans. marked: id of the layer to how many slices are marked."""
        from napari_medssl.classify.slices.findings import findings

        outcome, rows = self.outcome, []
        for image in images:
            key = str(image.unique_id)
            scores = outcome.scores.get(key) if outcome is not None else None
            if scores is None or outcome is None:
                rows.append(WorkRow(image.name, marked[key], None, 0))
                continue
            count = len(findings(scores, outcome.head.threshold_of))
            rows.append(WorkRow(image.name, marked[key], tuple(map(float, scores.exam)), count))
        self._panel.worklist.show_rows(rows, outcome.head.classes if outcome is not None else ())

    def show_evidence(self, current: int) -> bool:
        """Look for the evidence on the slices of the chosen finding, or on the current slice."""
        image, outcome, name = self.image, self.outcome, self._panel.evidence_class.currentText()
        if image is None or outcome is None or self.scores is None or name not in outcome.head.classes:
            tell(_NO_SCORES)
            return False
        chosen = self._panel.findings.finding
        low, high = (chosen.first, chosen.last) if chosen is not None and chosen.name == name else (current, current)
        scan = scan_of(image)

        def finish(found: Explanation) -> None:
            if image in self._viewer.layers:
                show_evidence(self._viewer, image, found, name)

        return self._panel.work.start(
            lambda: explain_steps(outcome.head, scan, name, range(low, high + 1), self._engine), finish,
            doing="The evidence",
        )  # fmt: skip

    def use_as_range(self) -> tuple[int, int] | None:
        """Give the slices of the chosen class to One-shot segmentation; the half-open range, None with a sentence."""
        scores, image, name = self.scores, self.image, self._panel.evidence_class.currentText()
        if scores is None or image is None or self.outcome is None or name not in scores.classes:
            tell(_NO_SCORES)
            return None
        return use_range(self._viewer, image, scores, name, self.outcome.head.threshold_of[name])

    def export(self, names: Mapping[str, str], marks: Callable[[], SliceMarks], path: Path | None) -> bool:
        """Write the scores. names: id of the layer to the scan's name; marks: made when there is something to write;
        path: asked for when None."""
        outcome = self.outcome
        if outcome is None:
            tell(_NO_SCORES)
            return False
        path = path or self._ask("Export scores", "slice_scores.csv", ("Table (*.csv)", "Report (*.json)"))
        if path is None:
            return False
        target, said = path, marks()
        return self._panel.work.start(
            lambda: export_steps(target, outcome, names, said), lambda p: tell(f"Saved {p}."), doing="The export"
        )

    def save_head(self, names: list[str], path: Path | None) -> bool:
        """Save what was learned; path: asked for when None. names: of the scans, for the card."""
        if self.outcome is None:
            tell("There is nothing to save yet: mark slices and press Learn.")
            return False
        path = path or self._ask("Save head", "head.safetensors", ("Head (*.safetensors)",))
        if path is None:
            return False
        from napari_medssl.classify.head_file import save_head

        try:
            written = save_head(path, self.outcome.head, {"open_scans": names})
        except MedSSLError as error:
            tell_error(error, "Saving the head")
            return False
        tell(f"Saved {written}.")
        return True

    def _offer_classes(self, classes: tuple[str, ...]) -> None:
        box = self._panel.evidence_class
        if tuple(box.itemText(i) for i in range(box.count())) != classes:
            shown = box.currentText()
            box.clear()
            box.addItems(classes)
            box.setCurrentText(shown)

    def _ask(self, title: str, name: str, filters: tuple[str, ...]) -> Path | None:
        text, chosen = QFileDialog.getSaveFileName(self._parent, title, name, ";;".join(filters))
        if not text:
            return None
        path = Path(text)
        ending = (chosen or filters[0]).split("*")[-1].rstrip(")")
        return path if path.suffix else path.with_name(path.name + ending)
