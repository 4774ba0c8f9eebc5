"""Where voxels lie in the patient: axis directions, display order, and moves between index and millimetres."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import GeometryError
from napari_medssl.volume import Affine, NativeGrid, Volume

Direction = Literal["L", "R", "A", "P", "S", "I"]

# World axis (R, A, S) and sign of each letter.
_DIRECTIONS: dict[str, tuple[int, int]] = {
    "R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1),
}  # fmt: skip
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}

# Where Z, Y, X grow to, by the world axis the slices are stacked along: the radiological view of each plane.
_RADIOLOGICAL: dict[int, tuple[Direction, Direction, Direction]] = {
    0: ("L", "I", "P"),  # sagittal
    1: ("P", "I", "L"),  # coronal
    2: ("S", "P", "L"),  # axial
}
# A slice spacing this much larger than the next one marks the slice axis. Chosen: 3D acquisitions are usually
# within 10 % of isotropic, slice-wise ones have slices at least 1.5 times thicker than their pixels.
CLEARLY_THICKER = 1.2
# Direction cosines are rounded before they are compared, so that an image and its mask, written by programs that
# round differently, take the same decision.
_DECIMALS = 3


def spacing_of(affine: Affine) -> npt.NDArray[np.float64]:
    """(3,) lengths in mm of the steps along the three array axes."""
    return np.asarray(np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))


def world_axes(affine: Affine) -> tuple[tuple[int, int], ...]:
    """For each array axis the world axis (0 R, 1 A, 2 S) it follows best, and the sign of its growth.

    The three world axes are shared out so that the sum of absolute direction cosines is largest; no two array axes
    get the same one, also for oblique and sheared grids. Ties go to the file's order.
    """
    affine = check_affine(affine)
    cosines = np.round(affine[:3, :3] / spacing_of(affine), _DECIMALS)  # (world, array)
    best = max(permutations(range(3)), key=lambda p: round(sum(abs(cosines[w, a]) for a, w in enumerate(p)), _DECIMALS))
    return tuple((world, -1 if cosines[world, axis] < 0 else 1) for axis, world in enumerate(best))


def check_affine(affine: Affine) -> Affine:
    """The affine as float64, or GeometryError when it is not a finite, invertible (4, 4)."""
    affine = np.asarray(affine, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise GeometryError("the affine must be a finite (4, 4) matrix; the header is damaged or was never filled in")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GeometryError("the affine is singular: a voxel size is zero or two voxel axes point in one direction")
    return affine


def slice_axis(affine: Affine, shape: tuple[int, ...]) -> int:
    """The file axis (0, 1, 2) along which slices were most likely acquired.

    A single axis of length 1 wins; then an axis whose spacing is at least 1.2 times the second largest; then the
    axis closest to superior. Only affine and shape count. NIfTI's `dim_info` does not, although it may name the slice
    axis: converters set it on images and other tools drop it from masks, and an image and its mask must come
    out on one grid.
    """
    single = [axis for axis, n in enumerate(shape) if n == 1]
    if len(single) == 1:
        return single[0]
    spacing = spacing_of(check_affine(affine))
    order = np.argsort(spacing)
    if round(float(spacing[order[2]] / spacing[order[1]]), _DECIMALS) >= CLEARLY_THICKER:
        return int(order[2])
    return next(axis for axis, (world, _) in enumerate(world_axes(affine)) if world == 2)


def native_grid(
    affine: Affine, shape: tuple[int, int, int], *, stack_axis: int | None = None, header: dict[str, Any] | None = None
) -> NativeGrid:
    """How the axes of a file become (Z, Y, X) in the radiological view, with the way back.

    affine: file index (i, j, k) to RAS mm. stack_axis: the acquisition's slice axis where the format knows it (DICOM);
    otherwise `slice_axis` decides. Index z grows to superior, y to posterior, x to patient left on axial
    stacks; left, inferior, posterior on sagittal ones; posterior, inferior, left on coronal ones. Only flips and
    permutations are used, so nothing is resampled and oblique grids stay as they are.

    >>> native_grid(np.diag([1.0, 1.0, 3.0, 1.0]), (4, 5, 6)).axes
    (2, 1, 0)
    >>> native_grid(np.diag([1.0, 1.0, 3.0, 1.0]), (4, 5, 6)).flips
    (False, True, True)
    """
    affine = check_affine(affine)
    stack = slice_axis(affine, shape) if stack_axis is None else stack_axis
    found = world_axes(affine)
    axes, flips = [], []
    for letter in _RADIOLOGICAL[found[stack][0]]:
        world, sign = _DIRECTIONS[letter]
        axis = next(a for a, (w, _) in enumerate(found) if w == world)
        axes.append(axis)
        flips.append(found[axis][1] != sign)
    z, y, x = axes
    return NativeGrid(affine, shape, (z, y, x), (flips[0], flips[1], flips[2]), header or {})


def plain_grid(volume: Volume) -> NativeGrid:
    """A file grid for a volume made here: file axes i, j, k are X, Y, Z, unflipped."""
    affine = volume.affine[:, [2, 1, 0, 3]]
    z, y, x = volume.shape
    return NativeGrid(affine, (x, y, z), (2, 1, 0), (False, False, False))


def file_grid(volume: Volume) -> NativeGrid:
    """The grid to write a volume on: its source file's own, or a plain one when it no longer lies on that."""
    native = volume.native
    if native is None:
        return plain_grid(volume)
    shape = tuple(native.shape[axis] for axis in native.axes)
    fits = shape == volume.shape and np.allclose(native.zyx_affine(), volume.affine, rtol=1e-6, atol=1e-5)
    return native if fits else plain_grid(volume)


def patient_axis_signs(volume: Volume) -> dict[Direction, tuple[int, int]]:
    """For each patient direction the array axis (0 Z, 1 Y, 2 X) that runs along it and the sign of its growth.

    `axis, sign = patient_axis_signs(volume)["L"]`: with sign 1 the patient's left half has the high indices of that
    axis, with -1 the low ones. Holds for every orientation; oblique axes go to their nearest direction.
    """
    result: dict[Direction, tuple[int, int]] = {}
    for axis, (world, sign) in enumerate(world_axes(volume.affine)):
        for letter, (letter_world, letter_sign) in _DIRECTIONS.items():
            if world == letter_world:
                result[letter] = (axis, sign * letter_sign)  # type: ignore[index]  # the table's keys are Directions
    return result


def axis_ends(volume: Volume) -> tuple[tuple[Direction, Direction], ...]:
    """For Z, Y, X the letters of the two ends, low index first: (("I", "S"), ("A", "P"), ("R", "L")) for axial."""
    ends: dict[int, tuple[Direction, Direction]] = {}
    for letter, (axis, sign) in patient_axis_signs(volume).items():
        if sign > 0:
            ends[axis] = (_OPPOSITE[letter], letter)  # type: ignore[assignment]
    return tuple(ends[axis] for axis in range(3))


def orientation_codes(volume: Volume) -> tuple[str, str, str]:
    """Where each array axis runs, from low to high index, such as ("I>S", "A>P", "R>L") for an axial stack."""
    z, y, x = (f"{low}>{high}" for low, high in axis_ends(volume))
    return z, y, x


def plane_name(volume: Volume) -> str:
    """The plane of the slices: "axial", "coronal" or "sagittal", the nearest one for oblique stacks."""
    return ("sagittal", "coronal", "axial")[world_axes(volume.affine)[0][0]]


def world_from_index(volume: Volume, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """RAS mm of voxel positions.

    points: (..., 3) in z, y, x voxels, fractions allowed. Returns (..., 3) in R, A, S mm.
    """
    points = np.asarray(points, np.float64)
    return np.asarray(points @ volume.affine[:3, :3].T + volume.affine[:3, 3])


def index_from_world(volume: Volume, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Voxel positions (..., 3) in z, y, x of points (..., 3) in R, A, S mm; the inverse of `world_from_index`."""
    offset = np.asarray(points, np.float64) - volume.affine[:3, 3]
    return np.asarray(np.linalg.solve(volume.affine[:3, :3], offset[..., None])[..., 0])


def _corners(shape: Iterable[int]) -> npt.NDArray[np.float64]:
    """(8, 3) indices of the outermost voxels."""
    return np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), np.float64).reshape(3, 8).T


def same_grid(a: Volume, b: Volume, *, tol_mm: float = 1e-2) -> bool:
    """Whether two volumes have the same shape and every voxel lies in the same place, within `tol_mm`.

    The default is far below a voxel and far above the rounding of affines stored in single precision.
    """
    if a.shape != b.shape:
        return False
    corners = _corners(a.shape)
    distance = np.linalg.norm(world_from_index(a, corners) - world_from_index(b, corners), axis=1)
    return bool(distance.max() <= tol_mm)


def align_to(volume: Volume, reference: Volume, *, tol_mm: float = 1e-2) -> Volume:
    """The same voxels on the grid of `reference`, when the two grids coincide but for axis order, direction and extent.

    For a mask whose file turned the axes another way than its scan (a NIfTI mask of a sagittal DICOM series), and for
    label maps that hold only the part of the scan where something is (DICOM SEG, cropped Slicer segmentations): their
    other voxels become 0. Nothing is resampled.

    Raises GeometryError when voxels lie between those of the reference, or when an image would have to be extended.
    """
    if same_grid(volume, reference, tol_mm=tol_mm):
        return volume
    turned = _turned_like(volume, reference)
    start = _start_in(turned, reference, tol_mm) if turned is not None else None
    if turned is None or start is None:
        raise GeometryError(
            f"the grids differ: {volume.shape} voxels of {_mm(volume)} against {reference.shape} of {_mm(reference)}; "
            "resample one onto the other, or use the mask that was made on this scan"
        )
    data = turned.data
    if start != (0, 0, 0) or turned.shape != reference.shape:
        if not volume.labels:
            raise GeometryError(
                f"the image covers {turned.shape} voxels from {start} of the other's {reference.shape}; "
                "only label maps can be extended, read it with labels=True if it is one"
            )
        data = _placed(turned.data, start, reference.shape)
    # The reference's own affine: later comparisons then are exact, not within a tolerance.
    return dataclasses.replace(
        volume, data=np.ascontiguousarray(data), affine=reference.affine, native=reference.native
    )


def _turned_like(volume: Volume, reference: Volume) -> Volume | None:
    """The volume with its axes in the reference's order and direction; None when they do not pair up."""
    inner = np.linalg.solve(volume.affine[:3, :3], reference.affine[:3, :3])  # (own axis, reference axis)
    z, y, x = (int(a) for a in np.abs(inner).argmax(axis=0))
    if sorted((z, y, x)) != [0, 1, 2]:
        return None
    flips = (bool(inner[z, 0] < 0), bool(inner[y, 1] < 0), bool(inner[x, 2] < 0))
    turn = NativeGrid(volume.affine, volume.shape, (z, y, x), flips)
    return dataclasses.replace(volume, data=turn.to_zyx(volume.data), affine=turn.zyx_affine(), native=None)


def _start_in(volume: Volume, reference: Volume, tol_mm: float) -> tuple[int, int, int] | None:
    """Reference index of the volume's first voxel; None when the voxels do not lie on the reference's."""
    corners = _corners(volume.shape)
    places = world_from_index(volume, corners)
    indices = np.rint(index_from_world(reference, places))
    off_mm = np.linalg.norm(world_from_index(reference, indices) - places, axis=1).max()
    if off_mm > tol_mm or not np.array_equal(indices - indices[0], corners):
        return None
    z, y, x = (int(v) for v in indices[0])
    return z, y, x


def _placed(data: np.ndarray, start: tuple[int, int, int], shape: tuple[int, int, int]) -> np.ndarray:
    """`data` in zeros of `shape` with its first voxel at `start`; what lies outside is cut off."""
    placed = np.zeros(shape, data.dtype)
    inside = tuple(slice(max(0, s), min(n, s + m)) for s, m, n in zip(start, data.shape, shape, strict=True))
    own = tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True))
    if all(i.stop > i.start for i in inside):
        placed[inside] = data[own]
    return placed


def _mm(volume: Volume) -> str:
    return " x ".join(f"{s:.3g}" for s in volume.spacing_mm) + " mm"


def is_sheared(affine: Affine, *, tol: float = 1e-3) -> bool:
    """Whether the voxel axes are not at right angles (gantry tilt): largest cosine between two of them above `tol`."""
    unit = np.asarray(affine, np.float64)[:3, :3] / spacing_of(affine)
    return bool(np.abs(unit.T @ unit - np.eye(3)).max() > tol)


def is_oblique(affine: Affine, *, tol: float = 1e-3) -> bool:
    """Whether some voxel axis leaves the patient axes by more than `tol` (in direction cosines)."""
    cosines = np.abs(np.asarray(affine, np.float64)[:3, :3] / spacing_of(affine))
    return bool((1.0 - cosines.max(axis=0)).max() > tol or np.sort(cosines, axis=0)[:2].max() > tol)


def display_scale(volume: Volume) -> tuple[float, float, float]:
    """Voxel size along Z, Y, X in mm: the `scale` of a layer."""
    return volume.spacing_mm


def display_translate(volume: Volume) -> tuple[float, float, float]:
    """Position in mm of the first voxel along the volume's own axes: the `translate` of a layer.

    The world origin projected on the unit vectors of Z, Y, X. Two volumes with equal directions (image and mask, two
    series of one examination with equal angles) lie right relative to each other; a viewer that shows slices
    along array axes cannot do more for volumes at different angles.
    """
    unit = volume.affine[:3, :3] / spacing_of(volume.affine)
    z, y, x = (float(v) for v in np.linalg.solve(unit, volume.affine[:3, 3]))
    return z, y, x
