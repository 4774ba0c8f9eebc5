"""The dock widget "Guidance": the answer follows the form, and its reasons, contradictions and charts are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManifest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication, QLabel

import napari_medssl
from napari_medssl.guidance import NOTICE, SYSTEMS, Question, recommend
from napari_medssl.widgets.guidance import GuidanceWidget


@pytest.fixture
def guidance(qtbot: QtBot, viewer: ViewerModel) -> GuidanceWidget:
    """The widget on an empty viewer."""
    widget = GuidanceWidget(viewer)
    qtbot.addWidget(widget)
    return widget


def state(widget: GuidanceWidget, **facts: object) -> None:
    """Fill in the form as a user would."""
    entries = dict(widget.form.entries())
    for name, value in facts.items():
        entries[name].value = value


def methods(widget: GuidanceWidget) -> list[str]:
    """Names in the table, from the top."""
    table = widget.shortlist
    return [table.item(row, 0).text() for row in range(table.rowCount())]


def test_the_manifest_offers_it() -> None:
    manifest = PluginManifest.from_file(Path(napari_medssl.__file__).parent / "napari.yaml")
    assert "Guidance" in [widget.display_name for widget in manifest.contributions.widgets]
    command = next(c for c in manifest.contributions.commands if c.id == "napari-medssl.guidance")
    assert command.python_name == "napari_medssl.widgets.guidance:GuidanceWidget"


def test_without_facts_the_defaults_are_shown(guidance: GuidanceWidget) -> None:
    assert guidance.question() == Question()
    assert methods(guidance) == ["simclr", "simclr3d", "byol", "byol3d", "rpl"]
    assert guidance.paradigm.text() == "Paradigm: not decided by the stated facts"
    assert NOTICE in [label.text() for label in guidance.findChildren(QLabel)]


def test_every_edit_is_answered(guidance: GuidanceWidget) -> None:
    state(guidance, task="segmentation", modality="MR", dims="3D", labels=20, unlabelled=500)
    wanted = recommend(Question(task="segmentation", modality="MR", dims="3D", labels=20, unlabelled=500))
    assert guidance.answer == wanted
    assert methods(guidance) == [candidate.method.name for candidate in wanted.shortlist]
    assert guidance.paradigm.text() == "Paradigm: self-supervised, then fine-tune"
    assert "full, with a small learning rate" in guidance.pages["Advice"].toPlainText()
    assert "R-06 (strong" in guidance.pages["Reasons"].toPlainText()
    conflicts = guidance.pages["Conflicts"].toPlainText()
    assert "R-27 against R-27d (followed: R-27, strong against weak)" in conflicts
    assert conflicts.count("Our reading:") == 8


def test_a_row_tells_its_reasons_and_its_command(guidance: GuidanceWidget) -> None:
    state(guidance, task="segmentation", dims="3D")
    row = methods(guidance).index("autoencoder")
    guidance.shortlist.selectRow(row)
    assert guidance.tabs.currentWidget() is guidance.pages["Reasons"]
    told = guidance.pages["Reasons"].toPlainText()
    assert "autoencoder (autoencoder; generative, 3D)" in told
    assert "Once chosen" in told
    assert "75.69 to 77.09" in told
    guidance.copy_button.click()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text() == "medssl pretrain autoencoder DATA --out run-autoencoder --set skip=false"


def test_plans_and_shapes_count(guidance: GuidanceWidget) -> None:
    guidance.plans["ensemble"].setChecked(True)
    guidance.shapes["pretrain_shape"].setText("48, 48, 48")
    guidance.shapes["finetune_shape"].setText("96,96,96")
    guidance.refresh()
    assert {"R-92", "R-42"} <= {rule.id for rule in guidance.answer.rules}


@pytest.mark.parametrize(("method", "shape"), [("simcrl", ""), ("", "4,x")])
def test_a_mistake_is_told_and_the_last_answer_stays(guidance: GuidanceWidget, method: str, shape: str) -> None:
    state(guidance, task="classification", dims="3D")
    before = methods(guidance)
    state(guidance, method=method)
    guidance.shapes["pretrain_shape"].setText(shape)
    guidance.refresh()
    assert not guidance.problem.isHidden()
    assert "simcrl" in guidance.problem.text() or "write whole numbers" in guidance.problem.text()
    assert methods(guidance) == before
    state(guidance, method="rpl")
    guidance.shapes["pretrain_shape"].setText("")
    guidance.refresh()
    assert guidance.problem.isHidden()


def test_charts_follow_facts_and_buttons(guidance: GuidanceWidget) -> None:
    charts = guidance.charts
    state(guidance, labels=800, imbalance=20.0, unlabelled=50_000)
    charts.chooser.setCurrentIndex(4)
    assert charts.walked.paradigm == "supervised"
    assert "they disagree" in charts.text.toPlainText()
    charts.chooser.setCurrentIndex(0)
    assert charts.walked.node == "best"
    charts.yes.click()
    assert charts.walked.paradigm == "hybrid"
    assert not charts.yes.isEnabled()
    charts.back.click()
    assert charts.walked.node == "best"


def test_all_methods_are_listed(guidance: GuidanceWidget) -> None:
    table = guidance.systems
    families = [table.item(row, 0).text() for row in range(table.rowCount())]
    assert len(families) == len(SYSTEMS)
    assert families == sorted(families, key=lambda family: (family == "-", family))


def test_facts_come_from_the_selected_scan(
    guidance: GuidanceWidget, viewer: ViewerModel, scan: Image, told: list[str]
) -> None:
    viewer.layers.selection.active = scan
    assert guidance.take_scan()
    question = guidance.question()
    assert (question.dims, question.slices) == ("3D", scan.data.shape[0])
    viewer.add_layer(Image(np.zeros((3, 4, 4), np.float32), name="loose"))
    assert not guidance.take_scan()
    assert "opened with this plugin" in told[-1]
