"""Explore features: what the pages show lies where it belongs, and nothing a user does leaves a dead dock."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from pytestqt.qtbot import QtBot

from napari_medssl.dense.files import save_grid
from napari_medssl.explore.nearest import nearest_points
from napari_medssl.explore.place import place_by_matches
from napari_medssl.io import write
from napari_medssl.volume import Volume
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layers import facts_of
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._overlays import (
    ALIKE,
    BOUNDARIES,
    COLOURS,
    COMPONENT,
    CURSOR,
    LANDMARKS,
    REGIONS,
    SELECTION,
    SIMILAR,
    cells_place,
    find_overlay,
)
from napari_medssl.widgets._picking import ADD, AGAINST, REPLACE
from napari_medssl.widgets._probes import probes_of
from napari_medssl.widgets.explore import ExploreWidget
from napari_medssl.widgets.reader import get_reader, read_layers
from tests.widgets.explore_scans import ORGAN, SHAPE, SPINE, GridEngine, add_scan, features_of, scan_volume

ORGAN_AT, SPINE_AT, FLESH_AT = (5, 12, 10), (5, 24, 16), (5, 12, 24)


@pytest.fixture
def engine() -> GridEngine:
    return GridEngine()


@pytest.fixture
def make(qtbot: QtBot, viewer: ViewerModel, engine: GridEngine) -> Callable[[], ExploreWidget]:
    """Open the dock and wait for its settings."""

    def open_dock() -> ExploreWidget:
        made = ExploreWidget(viewer, EngineHandle(lambda device, weights: engine))
        qtbot.addWidget(made)
        qtbot.waitUntil(lambda: made.panel.form is not None and not made.panel.work.running, timeout=10_000)
        return made

    return open_dock


@pytest.fixture
def scan(viewer: ViewerModel) -> Image:
    return add_scan(viewer, "first", scan_volume())


@pytest.fixture
def dock(scan: Image, make: Callable[[], ExploreWidget]) -> ExploreWidget:
    return make()


@pytest.fixture
def wait(qtbot: QtBot) -> Callable[[ExploreWidget], None]:
    """Until all work is done."""

    def until_idle(dock: ExploreWidget) -> None:
        qtbot.waitUntil(lambda: not dock.panel.work.running and not dock.alike.latest.busy, timeout=20_000)

    return until_idle


@pytest.fixture
def extracted(dock: ExploreWidget, wait: Any) -> ExploreWidget:
    """The dock with the features of its scan."""
    assert dock.extract()
    wait(dock)
    assert dock.features is not None
    return dock


@pytest.fixture
def two(extracted: ExploreWidget, viewer: ViewerModel, wait: Any) -> ExploreWidget:
    """Features of two scans; the first is chosen."""
    first = extracted.image
    extracted.panel.image.choose(add_scan(viewer, "second", scan_volume(1, shift=8)))
    assert extracted.extract()
    wait(extracted)
    extracted.panel.image.choose(first)
    assert [f.name for f in extracted.desk.others()] == ["second"]
    return extracted


def world(image: Any, voxel: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(image.data_to_world(voxel))


def overlay(dock: ExploreWidget, role: str, features: Any = None, what: str = "") -> Any:
    return find_overlay(dock.viewer, features or dock.features, role, what)


def at_voxel(dock: ExploreWidget, layer: Any, image: Any, voxel: tuple[int, int, int]) -> Any:
    """What a layer shows at the place of a scan's voxel."""
    index = np.rint(layer.world_to_data(image.data_to_world(voxel))).astype(int)
    return np.asarray(layer.data)[tuple(index)]


def test_extract(extracted: ExploreWidget, engine: GridEngine, told: list[str]) -> None:
    (_, weights, settings) = engine.calls[0]
    assert weights == "slices"
    assert settings.stages == ()
    assert engine.thread != threading.get_ident()  # the window stays alive
    assert extracted.panel.status.text() == "12 × 16 × 16 cells of 4 × 4 × 4 mm, 5 channels, bumps (abc123)"
    assert extracted.panel.save_button.isEnabled()
    assert extracted.features.body[6, 8, 8]
    assert told == []


def test_stages_and_weights_reach_the_engine(
    dock: ExploreWidget, engine: GridEngine, wait: Any, told: list[str]
) -> None:
    dock.panel.stages.setText("2, 3")
    dock.choose_weights(Path("my.safetensors"))
    dock.extract()
    wait(dock)
    (_, weights, settings) = engine.calls[0]
    assert (weights, settings.stages) == ("my.safetensors", (2, 3))
    dock.panel.stages.setText("two")
    assert not dock.extract()
    assert "give numbers" in told[-1]


AFFINES = {
    "axial": None,
    "off the origin": np.array([[0, 0, -1.5, 80], [0, -2.5, 0, -7], [5.0, 0, 0, 400], [0, 0, 0, 1]]),
    "oblique": np.array([[0.3, 0, -1.9, 30], [0, -2.0, 0, 30], [3.9, 0, 0.5, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("moved", [False, True])
def test_cells_lie_where_the_scan_shows_them(viewer: ViewerModel, make: Any, wait: Any, name: str, moved: bool) -> None:
    scan = add_scan(viewer, "scan", scan_volume(affine=AFFINES[name]))
    if moved:
        scan.translate = np.add(scan.translate, (3.0, -20.0, 5.0))
        scan.scale = scan.scale * (1, 2, 1)
    dock = make()
    dock.extract()
    wait(dock)
    features = dock.features
    layer = Image(np.zeros(features.grid.shape), **cells_place(features))
    centres = features.grid.centres_mm().reshape(*features.grid.shape, 3)
    for cell in ((0, 0, 0), (11, 15, 2), (4, 7, 9)):
        voxel = np.array(cell) * (1, 2, 2)
        assert np.allclose(layer.data_to_world(cell), scan.data_to_world(voxel), atol=1e-6)
        assert np.allclose(features.mm_of_world(layer.data_to_world(cell))[0], centres[cell], atol=1e-5)
        assert np.allclose(features.world_of_mm(centres[cell])[0], scan.data_to_world(voxel), atol=1e-5)


def test_colours_see_through_in_3d(extracted: ExploreWidget, viewer: ViewerModel, wait: Any) -> None:
    assert extracted.colours.show_colours()
    wait(extracted)
    layer = overlay(extracted, COLOURS)
    assert layer.rgb
    assert not is_scan(layer)
    assert layer.metadata["medssl"]["report"]["encoder"]["weights_sha256"] == "abc123"
    assert layer.metadata["medssl"]["report"]["source"]["sha256"] == extracted.features.volume.content_hash
    assert viewer.layers.selection.active is extracted.image or viewer.layers.selection.active is None
    organ, spine, air = (at_voxel(extracted, layer, extracted.image, v) for v in (ORGAN_AT, SPINE_AT, (5, 0, 0)))
    assert (organ[3], spine[3], air[3]) == (255, 255, 0)
    assert np.abs(organ[:3].astype(int) - spine[:3]).max() > 60
    viewer.dims.ndisplay = 3
    assert 0 < at_voxel(extracted, layer, extracted.image, ORGAN_AT)[3] < 60
    viewer.dims.ndisplay = 2
    assert np.array_equal(at_voxel(extracted, layer, extracted.image, ORGAN_AT), organ)
    extracted.colours.body.setChecked(False)
    assert at_voxel(extracted, layer, extracted.image, (5, 0, 0))[3] == 255
    extracted.colours.opacity.setValue(25)
    assert layer.opacity == 0.25


def test_colours_of_another_scan_mean_the_same(two: ExploreWidget, wait: Any) -> None:
    page = two.colours
    page.show_colours()
    wait(two)
    first, second = two.features, two.desk.others()[0]
    organ = at_voxel(two, overlay(two, COLOURS), first.image, ORGAN_AT)
    two.panel.image.choose(second.image)
    page.fitted.setCurrentIndex(page.fitted.findText("first"))
    page.show_colours()
    wait(two)
    there = at_voxel(two, overlay(two, COLOURS, second), second.image, (5, 12, 18))
    assert np.abs(there.astype(int) - organ).max() < 40
    assert "with the colours of first" in page.text.text()
    report = facts_of(overlay(two, COLOURS, second))["report"]
    assert report["fitted_on"]["sha256"] == first.volume.content_hash


def test_one_component_with_its_bar(extracted: ExploreWidget, wait: Any) -> None:
    extracted.colours.component.setValue(2)
    extracted.colours.show_component()
    wait(extracted)
    layer = overlay(extracted, COMPONENT)
    assert layer.data.shape == extracted.features.grid.shape
    assert layer.colorbar.visible
    low, high = layer.contrast_limits
    assert low < high
    extracted.colours.show_colours()
    wait(extracted)
    assert not layer.visible  # one field at a time
    assert overlay(extracted, COLOURS).visible


def test_click_finds_what_is_alike(extracted: ExploreWidget, wait: Any) -> None:
    page = extracted.alike
    page.pick_button.setChecked(True)
    assert extracted.viewer.layers.selection.active is extracted.image  # a click paints on no Labels layer
    extracted.alike.picker.picked.emit(world(extracted.image, ORGAN_AT), REPLACE)
    wait(extracted)
    layer = overlay(extracted, SIMILAR)
    values = {v: at_voxel(extracted, layer, extracted.image, v) for v in (ORGAN_AT, SPINE_AT, FLESH_AT)}
    assert values[ORGAN_AT] > 0.9
    assert max(values[SPINE_AT], values[FLESH_AT]) < 0.5
    assert layer.colorbar.visible
    assert page.latency_s is not None
    assert "Like 1 place, in" in page.text.text()

    page.pick(world(extracted.image, SPINE_AT), ADD)
    wait(extracted)
    assert overlay(extracted, SIMILAR) is layer  # the same layer, filled anew
    assert min(at_voxel(extracted, layer, extracted.image, v) for v in (ORGAN_AT, SPINE_AT)) > 0.9
    page.pick(world(extracted.image, SPINE_AT), AGAINST)
    wait(extracted)
    assert at_voxel(extracted, layer, extracted.image, SPINE_AT) < 0.6
    probes = probes_of(extracted.viewer, extracted.features)
    assert list(probes.features["kind"]) == ["like", "like", "unlike"]
    assert np.allclose(probes.data[0], ORGAN_AT)

    probes.data = probes.data[:1]  # as the user deletes points
    wait(extracted)
    assert at_voxel(extracted, layer, extracted.image, SPINE_AT) < 0.5
    page.clear()
    wait(extracted)
    assert overlay(extracted, SIMILAR) is None
    assert len(probes.data) == 0


def test_labels_of_what_is_alike(two: ExploreWidget, wait: Any) -> None:
    page = two.alike
    page.pick(world(two.image, ORGAN_AT), REPLACE)
    wait(two)
    assert page.make_labels()
    wait(two)
    for features, x in ((two.features, 10), (two.desk.others()[0], 18)):
        layer = overlay(two, ALIKE, features)
        assert layer.data.shape == SHAPE
        assert layer.data[5, 12, x] == 1
        assert layer.data[5, 23, x + 7] == 0  # in the middle of the spine
        assert np.array_equal(layer.scale, features.image.scale)
    assert "ml at or above" in page.text.text()
    page.threshold.setValue(0.97)
    assert not page.auto.isChecked()
    assert overlay(two, SIMILAR).contrast_limits[0] == pytest.approx(0.97)

    mine = overlay(two, ALIKE)
    mine.data[0, 0, 0] = 1  # painted by hand
    page.make_labels()
    wait(two)
    assert mine.data[0, 0, 0] == 1
    assert overlay(two, ALIKE) is not mine
    assert mine in two.viewer.layers


def test_region_is_looked_for(extracted: ExploreWidget, viewer: ViewerModel, wait: Any, told: list[str]) -> None:
    assert not extracted.alike.use_region()
    assert "no labels are chosen" in told[-1]
    drawn = viewer.add_labels(
        np.zeros(SHAPE, np.uint8), scale=extracted.image.scale, translate=extracted.image.translate
    )
    extracted.alike.region.choose(drawn)
    assert not extracted.alike.use_region()
    assert "is empty" in told[-1]
    drawn.data[SPINE] = 3
    drawn.selected_label = 3
    assert extracted.alike.use_region()
    wait(extracted)
    layer = overlay(extracted, SIMILAR)
    assert at_voxel(extracted, layer, extracted.image, SPINE_AT) > 0.8
    assert at_voxel(extracted, layer, extracted.image, ORGAN_AT) < 0.4
    assert "Like the region" in extracted.alike.text.text()


def corresponding(dock: ExploreWidget, other: Any, voxels: Any) -> np.ndarray:
    """RAS mm of the same places in another scan, as the core finds them."""
    indexes = dock.features.kept["index"], other.kept["index"]
    place = place_by_matches(*indexes, body_a=dock.features.body, body_b=other.body)
    return nearest_points(indexes[0], dock.features.mm_of_index(voxels), indexes[1], place=place).points_mm


def test_linked_cursor(two: ExploreWidget, wait: Any) -> None:
    page, second = two.alike, two.desk.others()[0]
    page.linked.setCurrentIndex(page.linked.findText("second"))
    page.go_there.setChecked(True)
    page.pick(world(two.image, SPINE_AT), REPLACE)
    wait(two)
    cursor = overlay(two, CURSOR, second)
    assert isinstance(cursor, Points)
    assert np.allclose(cursor.data, second.index_of_mm(corresponding(two, second, [SPINE_AT])), atol=1e-3)
    assert two.viewer.dims.point[-3] == pytest.approx(cursor.data_to_world(cursor.data[0])[0], abs=5)


def test_following_the_mouse_keeps_no_points(extracted: ExploreWidget, viewer: ViewerModel, wait: Any) -> None:
    extracted.alike.follow.setChecked(True)
    assert extracted.alike.picker._on_move in viewer.mouse_move_callbacks
    extracted.alike.picker.hovered.emit(world(extracted.image, SPINE_AT))
    extracted.alike.picker.hovered.emit(world(extracted.image, ORGAN_AT))
    wait(extracted)
    assert at_voxel(extracted, overlay(extracted, SIMILAR), extracted.image, ORGAN_AT) > 0.9  # the newest counts
    assert probes_of(viewer, extracted.features) is None


def test_regions(two: ExploreWidget, wait: Any, told: list[str]) -> None:
    assert not two.regions.find_same()
    assert "press Find regions first" in told[-1]
    two.regions.form.write(type(two.regions.form.read())(count=6, min_mm3=0.0))
    assert two.regions.divide()
    wait(two)
    layer = overlay(two, REGIONS)
    assert layer.data.shape == SHAPE
    organ = layer.data[ORGAN_AT]
    assert organ != layer.data[SPINE_AT]
    assert organ > 0
    assert layer.data[5, 0, 0] == 0  # air
    assert two.regions.find_same()
    wait(two)
    second = two.desk.others()[0]
    assert overlay(two, REGIONS, second).data[5, 12, 18] == organ  # the same number for the same look
    assert two.regions.show_boundaries()
    wait(two)
    edges = overlay(two, BOUNDARIES)
    inside, border = (at_voxel(two, edges, two.image, v) for v in (ORGAN_AT, (5, 16, 10)))
    assert border > 2 * inside
    assert not layer.visible


def test_landmarks(two: ExploreWidget, viewer: ViewerModel, wait: Any, told: list[str]) -> None:
    page, second = two.landmarks, two.desk.others()[0]
    layer = page.add_layer()
    assert layer is not None
    assert layer.mode == "add"
    assert not page.search()
    assert "press New landmarks" in told[-1]
    layer.data = np.array([ORGAN_AT, SPINE_AT], float)
    truth = viewer.add_points(
        [(5, 12, 18), (5, 24, 24)], name="true", scale=second.image.scale, translate=second.image.translate
    )
    page.points.choose(layer)
    page.truth.choose(truth)
    assert page.search()
    wait(two)
    found = overlay(two, LANDMARKS, second, str(two.image.unique_id))
    assert list(found.features["name"]) == ["1", "2"]
    rows = page.table.texts()
    assert [row[:2] for row in rows] == [["1", "second"], ["2", "second"]]
    expected = corresponding(two, second, [ORGAN_AT, SPINE_AT])
    assert np.allclose(found.data, second.index_of_mm(expected), atol=1e-3)
    off = np.linalg.norm(expected - second.mm_of_index([(5, 12, 18), (5, 24, 24)]), axis=1)
    assert [one.distance_mm for one in page.found] == pytest.approx(off.tolist(), abs=1e-3)
    assert [row[4] for row in rows] == [f"{mm:.1f}" for mm in off]
    assert "Median distance" in page.text.text()
    page.table.opened.emit(0)
    assert viewer.dims.point[-3] == pytest.approx(found.data_to_world(found.data[0])[0], abs=5)
    page.search()
    wait(two)
    assert found not in viewer.layers  # found again: replaced
    again = overlay(two, LANDMARKS, second, str(two.image.unique_id))
    again.data = again.data + 1
    page.search()
    wait(two)
    assert again in viewer.layers  # moved by hand: kept


def test_table_and_lasso(extracted: ExploreWidget, viewer: ViewerModel, wait: Any, tmp_path: Path) -> None:
    page = extracted.table
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[ORGAN], drawn[SPINE] = 1, 2
    labels = viewer.add_labels(drawn, scale=extracted.image.scale, translate=extracted.image.translate)
    page.labels.choose(labels)
    assert page.export(tmp_path / "regions.csv")
    wait(extracted)
    with (tmp_path / "regions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["region"] for row in rows] == ["1", "2"]
    assert int(rows[0]["n_voxels"]) == 4 * 8 * 8
    assert {"mean_0", "std_4"} <= set(rows[0])

    assert page.show_plot()
    wait(extracted)
    plotted = page.plotted
    assert plotted is not None
    organ = plotted.cells == np.ravel_multi_index((5, 6, 5), extracted.features.grid.shape)
    x, y = page.plot._xy[organ][0]
    page.plot.choose_inside([(x - 0.1, y - 0.1), (x + 0.1, y - 0.1), (x + 0.1, y + 0.1), (x - 0.1, y + 0.1)])
    wait(extracted)
    chosen = overlay(extracted, SELECTION)
    assert chosen.data[ORGAN_AT] == 1
    assert chosen.data[SPINE].sum() == 0
    assert f"{page.plot.chosen.sum()} of {page.plot.count} cells" in page.text.text()
    page.show_place(extracted.features, extracted.features.mm_of_index([ORGAN_AT])[0])
    assert np.allclose(page.plot._cursor, (x, y))
    page.labels.choose(None)
    page.show_plot()
    wait(extracted)
    assert page.plot.count == extracted.features.body.sum()


def test_similar_scans(
    extracted: ExploreWidget, engine: GridEngine, wait: Any, tmp_path: Path, told: list[str], monkeypatch: Any
) -> None:
    page = extracted.scans
    assert not page.find_similar()
    assert "is not a folder" in told[-1]
    for seed in range(1, 4):
        write(tmp_path / f"scan{seed}.nii.gz", scan_volume(seed, shift=0 if seed < 3 else 8))
    (tmp_path / "broken.nii.gz").write_bytes(b"no scan")
    page.folder.setText(str(tmp_path))
    page.find_similar()
    wait(extracted)
    assert "press Index first" in told[-1]
    engine.calls.clear()
    assert page.index_folder()
    wait(extracted)
    assert page.text.text().startswith("3 scans in the index, 3 of them new. 1 could not be read: broken.nii.gz")
    page.index_folder()
    wait(extracted)
    assert "0 of them new" in page.text.text()
    assert len(engine.calls) == 3  # what is known is not extracted again
    page.find_similar()
    wait(extracted)
    assert {row[0] for row in page.table.texts()} == {f"scan{n}.nii.gz" for n in (1, 2, 3)}
    opened: list[str] = []
    monkeypatch.setattr(type(extracted.viewer), "open", lambda self, path, plugin: opened.append(path), raising=False)
    page.table.opened.emit(0)
    assert opened == [str(tmp_path / page.matches[0].name)]


def test_saved_features_come_back(
    extracted: ExploreWidget, viewer: ViewerModel, wait: Any, tmp_path: Path, told: list[str]
) -> None:
    for name in ("kept.zarr", "kept.npz"):
        assert extracted.save(tmp_path / name)
        wait(extracted)
        extracted.desk.store.drop(extracted.image)
        assert extracted.features is None
        assert extracted.open(tmp_path / name)
        wait(extracted)
        assert extracted.features is not None
        # Through napari's own File > Open, too.
        assert get_reader(str(tmp_path / name)) is read_layers
        extracted.desk.store.drop(extracted.image)
        ((data, attributes, kind),) = read_layers(str(tmp_path / name))
        layer = viewer._add_layer_from_data(data, attributes, kind)[0]
        wait(extracted)
        assert extracted.features is not None
        assert np.allclose(layer.data_to_world((5, 6, 5)), extracted.image.data_to_world((5, 12, 10)))
        assert not is_scan(layer)
    assert all(text.startswith("Saved") for text in told)
    other = tmp_path / "other.npz"
    save_grid(other, features_of(Volume(np.ones((4, 8, 8), np.float32), np.eye(4))))
    extracted.open(other)
    wait(extracted)
    assert "Open the scan they were extracted from" in told[-1]
    assert get_reader(str(tmp_path)) is read_layers
    (tmp_path / "foreign.zarr").mkdir()
    assert get_reader(str(tmp_path / "foreign.zarr")) is None
