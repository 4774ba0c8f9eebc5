"""Volumes as layers and back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_medssl.errors import MedSSLError
from napari_medssl.geometry import native_grid
from napari_medssl.labels import Label, default_label
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import (
    image_layer,
    labels_layer,
    layer_affine,
    name_organs,
    organs_of,
    volume_to_save,
)
from napari_medssl.widgets._orientation import edge_letters, show_orientation
from napari_medssl.widgets._scan import scan_of

ALL_48 = [(p, s) for p in permutations(range(3)) for s in product((1, -1), repeat=3)]


def volume_in(axes: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """A (3, 4, 5) volume whose file axes run along these world axes."""
    affine = np.zeros((4, 4))
    for column, (world, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[world, column] = sign * (1.0, 1.5, 4.0)[column]
    affine[:, 3] = (7, -3, 11, 1)
    native = native_grid(affine, (5, 4, 3))
    data = native.to_zyx(np.arange(60, dtype=np.float32).reshape(5, 4, 3))
    return Volume(data, native.zyx_affine(), native=native)


@pytest.mark.parametrize(("axes", "signs"), ALL_48)
def test_saving_a_layer_gives_back_the_scan_s_grid(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = volume_in(axes, signs)
    layer = Layer.create(*image_layer(volume, "scan"))
    back = volume_to_save(layer)
    assert back.native is volume.native
    np.testing.assert_array_equal(back.affine, volume.affine)
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(layer.scale, volume.spacing_mm)


@pytest.mark.parametrize(("axes", "signs"), ALL_48)
def test_letters_name_the_side_of_the_patient_at_each_edge(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    """Second derivation: walk over the edge in world millimetres and see which coordinate changes, and how."""
    volume = volume_in(axes, signs)
    letters = edge_letters(volume, (1, 2))
    for edge, step in {"bottom": (0, 1, 0), "top": (0, -1, 0), "right": (0, 0, 1), "left": (0, 0, -1)}.items():
        move = volume.affine[:3, :3] @ np.array(step)
        world = int(np.abs(move).argmax())
        assert letters[edge] == ("LR", "PA", "IS")[world][int(move[world] > 0)]


def test_letters_follow_the_view(viewer: ViewerModel) -> None:
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = Volume(np.zeros((4, 5, 6), np.float32), affine)
    show_orientation(viewer)
    shown = lambda: {  # noqa: E731
        key.removeprefix("medssl_"): overlay.text
        for key, overlay in viewer.canvas.overlays.items()
        if key.startswith("medssl_") and overlay.visible
    }
    assert shown() == {}
    viewer.add_layer(Layer.create(*image_layer(volume, "scan")))
    assert shown() == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    viewer.dims.order = (1, 0, 2)
    assert shown() == {"left": "R", "right": "L", "top": "S", "bottom": "I"}
    viewer.scene.camera.orientation2d = ("down", "left")
    assert shown() == {"left": "L", "right": "R", "top": "I", "bottom": "S"}
    viewer.dims.ndisplay = 3
    assert shown() == {}
    viewer.dims.ndisplay = 2
    viewer.layers.clear()
    assert shown() == {}


@pytest.mark.parametrize(("order", "vertical"), [((0, 1, 2), "down"), ((1, 0, 2), "up"), ((2, 0, 1), "up")])
def test_the_head_is_at_the_top(viewer: ViewerModel, order: tuple[int, ...], vertical: str) -> None:
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    viewer.add_layer(Layer.create(*image_layer(Volume(np.zeros((4, 5, 6), np.float32), affine), "scan")))
    show_orientation(viewer)
    camera = viewer.scene.camera
    viewer.dims.order = order
    assert camera.orientation2d == (vertical, "right")
    viewer.dims.ndisplay = 3
    assert camera.orientation2d == ("down", "right")  # a flip in 3D would show a mirror image of the patient
    viewer.dims.ndisplay = 2
    assert camera.orientation2d == (vertical, "right")
    viewer.dims.order = (0, 1, 2)
    assert camera.orientation2d == ("down", "right")


def test_a_camera_the_user_turned_is_left_alone(viewer: ViewerModel) -> None:
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    viewer.add_layer(Layer.create(*image_layer(Volume(np.zeros((4, 5, 6), np.float32), affine), "scan")))
    show_orientation(viewer)
    viewer.scene.camera.orientation2d = ("up", "left")
    for order in ((1, 0, 2), (0, 1, 2)):
        viewer.dims.order = order
        assert viewer.scene.camera.orientation2d == ("up", "left")


def test_contrast_follows_the_modality() -> None:
    data = np.linspace(-1000, 1500, 4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
    ct = image_layer(Volume(data, np.eye(4), "CT"), "ct")[1]["contrast_limits"]
    mr = image_layer(Volume(data + 1000, np.eye(4), "MR"), "mr")[1]["contrast_limits"]
    assert ct == (-160, 240)
    assert mr == pytest.approx(tuple(np.percentile(data + 1000, [0.5, 99.5])))


def test_a_layer_without_file_is_taken_as_radiological() -> None:
    layer = Image(np.zeros((3, 4, 5)), scale=(2, 1, 0.5), translate=(10, 20, 30), units=("mm",) * 3)
    affine = layer_affine(layer)
    np.testing.assert_allclose(affine @ (0, 0, 0, 1), (-30, -20, 10, 1))  # R, A, S
    np.testing.assert_allclose(affine @ (1, 0, 0, 1), (-30, -20, 12, 1))  # z goes up
    np.testing.assert_allclose(affine @ (0, 0, 1, 1), (-30.5, -20, 10, 1))  # x goes left
    micrometres = Image(np.zeros((3, 4, 5)), scale=(2000, 1000, 500), units=("um",) * 3)
    assert scan_of(micrometres).volume().spacing_mm == pytest.approx((2, 1, 0.5))


def test_a_cropped_layer_does_not_keep_the_old_place() -> None:
    volume = volume_in((0, 1, 2), (1, 1, 1))
    layer = Layer.create(*image_layer(volume, "scan"))
    layer.data = layer.data[1:]
    assert scan_of(layer).template is None
    assert scan_of(layer).volume().shape == (2, 4, 5)


def test_the_volume_itself_comes_back_so_that_features_are_found_again() -> None:
    volume = volume_in((0, 1, 2), (1, 1, 1))
    assert scan_of(Layer.create(*image_layer(volume, "scan"))).volume() is volume


def test_multiscale_is_refused() -> None:
    layer = Image([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], multiscale=True, name="pyramid")
    with pytest.raises(MedSSLError, match="'pyramid' is a multiscale image"):
        scan_of(layer)


def test_names_survive_on_the_layer() -> None:
    data = np.zeros((2, 3, 4), np.uint8)
    data[0, 0, 0], data[1, 1, 1] = 2, 5
    layer = Layer.create(*labels_layer(Volume(data, np.eye(4), labels=(Label(2, "spleen", (255, 0, 0)),)), "mask"))
    assert isinstance(layer, Labels)
    assert organs_of(layer) == (Label(2, "spleen", (255, 0, 0)), default_label(5))
    layer.selected_label = 5
    name_organs(layer, (Label(5, "aorta", (0, 0, 255)),))
    assert layer.selected_label == 5
    np.testing.assert_allclose(layer.get_color(5), (0, 0, 1, 1))
    assert list(layer.features["organ"]) == ["background", "aorta"]
