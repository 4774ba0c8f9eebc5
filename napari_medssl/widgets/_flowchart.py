"""A flowchart to walk: the facts answer what they can, buttons the rest."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from napari_medssl.guidance.flowcharts import CHARTS, Ask, Chart, Walk, answers_of, disagree, walk, walk_all
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.text import chart_line, chart_lines
from napari_medssl.widgets._pages import page


class FlowchartExplorer(QWidget):
    """One of the five charts, its way so far, and what the others answer.

    Answers given by button go before the facts, until `reset` or another chart.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._question = Question()
        self._given: dict[str, bool] = {}
        self.chooser = QComboBox()
        for chart in CHARTS:
            self.chooser.addItem(f"{chart.number} · {chart.title}", chart)
        self.yes, self.no, self.back = QPushButton("Yes"), QPushButton("No"), QPushButton("Reset")
        self.back.setToolTip("Forget the answers given here; the facts of the form stay")
        self.text = QTextBrowser()
        row = QHBoxLayout()
        for widget in (self.chooser, self.yes, self.no, self.back):
            row.addWidget(widget)
        row.setStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        layout.addWidget(self.text)
        self.chooser.currentIndexChanged.connect(lambda *_: self.reset())
        self.yes.clicked.connect(lambda: self.answer(yes=True))
        self.no.clicked.connect(lambda: self.answer(yes=False))
        self.back.clicked.connect(lambda: self.reset())
        self._show()

    @property
    def chart(self) -> Chart:
        """The chart on show."""
        chosen: Chart = self.chooser.currentData()
        return chosen

    @property
    def walked(self) -> Walk:
        """How far facts and answers lead in it."""
        return walk(self.chart, answers_of(self.chart, self._question) | self._given)

    def set_question(self, question: Question) -> None:
        """Other facts; answers given by button stay."""
        self._question = question
        self._show()

    def answer(self, *, yes: bool) -> None:
        """Answer the open question."""
        if self.walked.node:
            self._given[self.walked.node] = yes
            self._show()

    def reset(self) -> None:
        """Forget the answers given by button."""
        self._given = {}
        self._show()

    def _show(self) -> None:
        walked = self.walked
        node = self.chart.nodes.get(walked.node)
        for button in (self.yes, self.no):
            button.setEnabled(isinstance(node, Ask))
            button.setToolTip(node.text if isinstance(node, Ask) else "The chart has come to an end")
        self.back.setEnabled(bool(self._given))
        others = walk_all(self._question)
        verdict = "they disagree" if disagree(others) else "those that answer agree"
        told = [*chart_lines(self.chart, walked), f"All charts, by the facts alone: {verdict}"]
        self.text.setHtml(page([*told, *(f"  {chart_line(other)}" for other in others)]))
