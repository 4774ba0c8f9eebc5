"""An anatomical abdomen in CT or MR made by the package itself, with its label map: sample, demo and test fixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from napari_medssl.samples.anatomy import ORGANS, Box, Part, Patient, Scene
from napari_medssl.samples.shapes import Depth, Points
from napari_medssl.samples.tissue import TISSUES
from napari_medssl.volume import Affine, Volume

DEFAULT_SHAPE = {"CT": (40, 192, 192), "MR": (32, 192, 192)}
DEFAULT_FIELD_MM = {"CT": (200.0, 345.6, 345.6), "MR": (224.0, 345.6, 345.6)}

# One slab of slices is drawn at a time, so that a CT of 400 slices of 512 x 512 needs little more than its own memory.
_SLAB_VOXELS = 1 << 22
_THICK_MM = 2.5
_WARP_REACH_MM = 16.0
_WAVES = 6


def phantom(
    modality: Literal["CT", "MR"] = "CT",
    *,
    shape: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    seed: int = 0,
    noise: float = 1.0,
    bias: float = 1.0,
    deformation: float = 1.0,
) -> tuple[Volume, Volume]:
    """A scan (Z, Y, X) int16 of an upper abdomen and its label map uint8 with names and colours (`ORGANS`).

    modality: "CT" gives Hounsfield units with correlated Gaussian noise; "MR" a fat-suppressed T2-like signal of about
        0 to 1000 with Rician noise (Gudbjartsson and Patz, 1995) and a smooth bias field.
    shape: voxels along Z, Y, X; (40, 192, 192) for CT and (32, 192, 192) for MR by default.
    spacing_mm: along Z, Y, X. By default such that the shape covers the whole abdomen (about 200 x 346 x 346 mm), so
        a small shape shows the same anatomy coarsely. With a spacing given, the field of view is shape times spacing,
        centred on the body.
    seed: another seed is another patient: other sizes, places, deformation and noise. Equal seeds give equal voxels.
    noise, bias, deformation: factors on their normal strength; 0 switches them off.

    Z runs upwards, Y to the back, X to the patient's left, so a slice shown with Y down looks as radiologists expect:
    the liver is on the left of the picture. Thick slices are averaged from thinner ones and edges are blended over a
    pixel, as a scanner would (partial volume). Takes about a second at the default size; the time grows with voxels.

    Raises ValueError for an unknown modality, or a shape or spacing that is not positive.
    """
    if modality not in TISSUE_COLUMN:
        raise ValueError(f"modality is {modality!r}; choose 'CT' or 'MR'")
    size = DEFAULT_SHAPE[modality] if shape is None else shape
    field = DEFAULT_FIELD_MM[modality]
    if min(size) < 1 or min(spacing_mm or field) <= 0:
        raise ValueError(f"shape {size} and spacing {spacing_mm} must be positive")
    step = spacing_mm or tuple(f / n for f, n in zip(field, size, strict=True))
    grid = _Grid(size, (step[0], step[1], step[2]))
    anatomy, scanner = (np.random.default_rng([seed, stream]) for stream in (1, 2))
    patient, warp = Patient.drawn(anatomy), _Warp.drawn(anatomy, deformation)

    image, labels = np.empty(size, np.int16), np.zeros(size, np.uint8)
    for slab in grid.slabs():
        signal, texture, labels[slab] = _draw(grid, slab, patient, warp, modality)
        image[slab] = _scan(signal, texture, grid, slab, modality=modality, rng=scanner, noise=noise, bias=bias)
    affine = grid.affine()
    return Volume(image, affine, modality), Volume(labels, affine, labels=ORGANS)


TISSUE_COLUMN = {"CT": "ct", "MR": "mr"}


@dataclass(frozen=True)
class _Grid:
    """Voxels along Z (up), Y (to the back), X (to the left), centred on the body's origin."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def axis(self, n: int, step: float) -> Depth:
        return ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)

    @property
    def axes(self) -> tuple[Depth, Depth, Depth]:
        """Superior, anterior and right mm of the voxel centres along Z, Y and X."""
        z, y, x = (self.axis(n, step) for n, step in zip(self.shape, self.spacing_mm, strict=True))
        return z, -y, -x

    def affine(self) -> Affine:
        """Index (z, y, x) to RAS mm."""
        z, y, x = self.axes
        result = np.zeros((4, 4))
        result[2, 0], result[1, 1], result[0, 2] = np.array(self.spacing_mm) * (1, -1, -1)
        result[:, 3] = (x[0], y[0], z[0], 1)
        return result

    def slabs(self) -> Iterator[slice]:
        n = max(1, _SLAB_VOXELS // (self.shape[1] * self.shape[2] * self.thin_slices))
        for start in range(0, self.shape[0], n):
            yield slice(start, min(start + n, self.shape[0]))

    @property
    def thin_slices(self) -> int:
        """Slices averaged into one, for partial volume along Z."""
        return int(np.clip(round(self.spacing_mm[0] / _THICK_MM), 1, 3))


@dataclass(frozen=True)
class _Warp:
    """A smooth displacement: for each patient axis a sum of products of sines along S, A and R.

    waves: (3 axes displaced, K, 3 of S, A, R, 2 of radians per mm and phase). heights_mm: (3, K).
    """

    waves: npt.NDArray[np.float64]
    heights_mm: npt.NDArray[np.float64]

    @staticmethod
    def drawn(rng: np.random.Generator, strength: float) -> _Warp:
        """Long waves of some mm that move organs and short ones of about one mm that roughen surfaces."""
        length_mm = rng.uniform(1, 1.6, (3, _WAVES, 3)) * np.array([180, 140, 110, 60, 45, 38])[None, :, None]
        waves = np.stack([2 * np.pi / length_mm, rng.uniform(0, 2 * np.pi, (3, _WAVES, 3))], -1)
        heights = rng.uniform(0.5, 1, (3, _WAVES)) * np.array([5, 4, 3, 1.6, 1.2, 0.8])
        return _Warp(waves, strength * heights)

    def points(self, s: Depth, a: Depth, r: Depth, size: float) -> Points:
        """Where the voxels of a grid (S, A, R axes) lie in the undeformed patient of scale 1."""
        moved = []
        for axis, own in enumerate((r[None, None, :], a[None, :, None], s[:, None, None])):
            along = [
                np.sin(c[:, None] * self.waves[axis, :, i, 0] + self.waves[axis, :, i, 1]).astype(np.float32)
                for i, c in enumerate((s, a, r))
            ]
            plane = (along[1][:, None, :] * along[2][None, :, :]).reshape(-1, _WAVES)  # (A R, K)
            shift = (along[0] * self.heights_mm[axis].astype(np.float32)) @ plane.T  # (S, A R)
            moved.append((shift.reshape(len(s), len(a), len(r)) + own) * np.float32(1 / size))
        return Points(moved[0], moved[1], moved[2])


def _draw(
    grid: _Grid, slab: slice, patient: Patient, warp: _Warp, modality: str
) -> tuple[Depth, Depth, npt.NDArray[np.uint8]]:
    """Noiseless signal and texture strength (slices of the slab, Y, X), and labels at the slices' middles."""
    thin, (z, a, r) = grid.thin_slices, grid.axes
    offsets = (np.arange(thin) - (thin - 1) / 2) / thin * grid.spacing_mm[0]
    s = (z[slab][:, None] + offsets).astype(np.float32).ravel()
    points = warp.points(s, a, r, patient.size)
    signal = np.full(points.r.shape, getattr(TISSUES["air"], TISSUE_COLUMN[modality]), np.float32)
    texture, labels = np.zeros_like(signal), np.zeros(signal.shape, np.uint8)
    soft_mm = np.float32(max(grid.spacing_mm[1:]))

    def find(box: Box) -> Part:
        reach = _WARP_REACH_MM
        return tuple(
            _covered(axis / patient.size, low - reach, high + reach)
            for axis, low, high in ((s, box[4], box[5]), (a, box[2], box[3]), (r, box[0], box[1]))
        )

    def paint(part: Part, tissue: str, depth: Depth, value: int) -> None:
        kind = TISSUES[tissue]
        share = np.clip(depth / soft_mm + np.float32(0.5), 0, 1)
        signal[part] += share * (np.float32(getattr(kind, TISSUE_COLUMN[modality])) - signal[part])
        texture[part] += share * (np.float32(kind.texture) - texture[part])
        labels[part][depth > 0] = value

    Scene(points, patient, find, paint).draw()
    shape = (-1, thin, len(a), len(r))
    return signal.reshape(shape).mean(1), texture.reshape(shape).mean(1), labels.reshape(shape)[:, thin // 2]


def _covered(axis: Depth, low: float, high: float) -> slice:
    """The run of a monotonic axis that lies between two values."""
    inside = np.flatnonzero((axis >= low) & (axis <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def _scan(
    signal: Depth,
    texture: Depth,
    grid: _Grid,
    slab: slice,
    *,
    modality: str,
    rng: np.random.Generator,
    noise: float,
    bias: float,
) -> npt.NDArray[np.int16]:
    """What the scanner adds: grain of the tissue, bias field, noise, whole numbers."""
    grain = _grain(rng, signal.shape, 2.5 / grid.spacing_mm[1], 2.5 / grid.spacing_mm[2])
    if modality == "CT":
        signal = signal + 5 * noise * texture * grain
        signal += 11 * noise * _grain(rng, signal.shape, 0.7, 0.7)
        return np.rint(np.clip(signal, -1024, 3071)).astype(np.int16)
    signal = signal * (1 + 0.035 * noise * texture * grain) * _bias_field(grid, slab, bias)
    real, imaginary = (12 * noise * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2))
    magnitude: Depth = np.hypot(signal + real, imaginary)
    return np.rint(magnitude).astype(np.int16)


def _grain(rng: np.random.Generator, shape: tuple[int, ...], sigma_y: float, sigma_x: float) -> Depth:
    """Noise of mean 0 and standard deviation 1 (Z, Y, X), correlated within slices and not between them."""
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth: Depth = gaussian_filter(white, (0, sigma_y, sigma_x), mode="wrap")
    return smooth / np.float32(max(float(smooth.std()), 1e-6))


def _bias_field(grid: _Grid, slab: slice, strength: float) -> Depth:
    """Coil sensitivity: brighter in front, uneven from side to side, about 0.75 to 1.3, the same in every scan."""
    z, a, r = grid.axes
    s = z[slab][:, None, None]
    log = 0.22 * a[None, :, None] / 110 + 0.1 * np.sin(r / 90 + 0.6)[None, None, :] + 0.08 * np.cos(s / 80)
    field: Depth = np.exp(np.float32(strength) * log.astype(np.float32))
    return field
