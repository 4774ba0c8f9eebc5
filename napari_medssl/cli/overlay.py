"""A picture of a result: slices of the scan with the organs drawn on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from napari_medssl.geometry import axis_ends
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io.atomic import replacing
from napari_medssl.volume import Volume

_COLUMNS = 4
_CELL = 300  # pixels on the longer side of a slice: small enough to mail, large enough to judge an outline
_LINE = 16
_FILL = 0.35


def save_overlay(
    path: Path,
    scan: Volume,
    labels: Volume,
    *,
    truth: np.ndarray | None = None,
    labelled: Mapping[int, tuple[int, ...]] | None = None,
    n_slices: int = 8,
) -> None:
    """Write a PNG with `n_slices` slices spread over the extent of the organs and of the truth, whole or not at all.

    Organs are tinted and outlined in their colours; with a truth (Z, Y, X) its outline is drawn in white. Slices have
    square pixels, the letters of the patient's sides, and a mark when they were labelled by hand.

    Raises FormatError when it cannot be written.
    """
    picture = overlay(scan, labels, truth=truth, labelled=labelled, n_slices=n_slices)
    with replacing(path) as (temp,):
        picture.save(temp, format="PNG", optimize=True)


def overlay(
    scan: Volume,
    labels: Volume,
    *,
    truth: np.ndarray | None = None,
    labelled: Mapping[int, tuple[int, ...]] | None = None,
    n_slices: int = 8,
) -> Image.Image:
    """The picture `save_overlay` writes."""
    limits = window_limits(scan)
    given = {z for slices in (labelled or {}).values() for z in slices}
    cells = []
    shown = labels.data if truth is None else (labels.data != 0) | np.isin(truth, [o.value for o in labels.labels])
    for z in _choose(shown, n_slices):
        cell = _slice(to_unit(scan.data[z], limits), labels, z, None if truth is None else truth[z])
        cells.append(fit_millimetres(cell, scan.spacing_mm[1:]))
        write_sides(cells[-1], scan, z, labelled=z in given)
    return _sheet(cells, labels, truth=truth is not None)


def _choose(data: np.ndarray, n: int) -> list[int]:
    """Slices spread evenly over those with any organ; the middle ones when there is none."""
    found = np.flatnonzero(data.any(axis=(1, 2)))
    found = found if found.size else np.arange(len(data))
    picks = np.linspace(0, len(found) - 1, min(n, len(found)) + 2)[1:-1] if len(found) > n else np.arange(len(found))
    return [int(found[round(float(p))]) for p in picks]


def _slice(grey: np.ndarray, labels: Volume, z: int, truth: np.ndarray | None) -> Image.Image:
    rgb = np.repeat((255 * grey)[..., None], 3, axis=-1)  # (Y, X, 3)
    for organ in labels.labels:
        mask = labels.data[z] == organ.value
        color = np.array(organ.color, np.float32)
        rgb[mask] += _FILL * (color - rgb[mask])
        rgb[mask & ~binary_erosion(mask)] = color
        if truth is not None:
            known = truth == organ.value
            rgb[known & ~binary_erosion(known)] = 255
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def fit_millimetres(picture: Image.Image, spacing_mm: tuple[float, float]) -> Image.Image:
    """Resized so that a millimetre is as long down as across."""
    height, width = picture.height * spacing_mm[0], picture.width * spacing_mm[1]
    scale = _CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def write_sides(picture: Image.Image, scan: Volume, z: int, *, labelled: bool = False) -> None:
    """Write the number of the slice and the letters of the patient's sides on its picture, in place."""
    draw = ImageDraw.Draw(picture)
    _, (top, bottom), (left, right) = axis_ends(scan)
    width, height = picture.size
    draw.text((width / 2, 1), top, fill="white", anchor="ma")
    draw.text((width / 2, height - 2), bottom, fill="white", anchor="md")
    draw.text((2, height / 2), left, fill="white", anchor="lm")
    draw.text((width - 3, height / 2), right, fill="white", anchor="rm")
    draw.text((3, 1), f"slice {z}" + (", labelled" if labelled else ""), fill="yellow" if labelled else "white")


def _sheet(cells: list[Image.Image], labels: Volume, *, truth: bool) -> Image.Image:
    """The slices in rows, the organs' names in their colours and what white means below."""
    columns = min(_COLUMNS, len(cells))
    width, height = max(c.width for c in cells), max(c.height for c in cells)
    rows = -(-len(cells) // columns)
    legend = [(o.name, o.color) for o in labels.labels if (labels.data == o.value).any()]
    legend += [("outline of the known labels", (255, 255, 255))] if truth else []
    sheet = Image.new("RGB", (columns * width, rows * height + _LINE * (1 + len(legend) // 4)), "black")
    for i, cell in enumerate(cells):
        sheet.paste(cell, ((i % columns) * width, (i // columns) * height))
    draw = ImageDraw.Draw(sheet)
    x, y = 4.0, rows * height + 2
    for name, color in legend:
        length = draw.textlength(name) + 14
        if x + length > sheet.width:
            x, y = 4.0, y + _LINE
        draw.text((x, y), name, fill=color)
        x += length
    return sheet
