"""A picture of an explanation: slices of the scan with the evidence laid over them by addition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from napari_medssl.cli.overlay import fit_millimetres, write_sides
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io.atomic import replacing
from napari_medssl.volume import Volume

_COLUMNS = 4
_STRENGTH = 0.85
# From black over red and orange to yellow: added to grey it never hides it, and is told apart by brightness too.
_COLOURS = np.array([[0, 0, 0], [200, 20, 40], [255, 120, 0], [255, 240, 90]], np.float32)


def save_evidence(path: Path, scan: Volume, evidence: Volume, *, caption: str = "", n_slices: int = 8) -> None:
    """Write a PNG with the `n_slices` slices of strongest evidence, in their order, whole or not at all.

    Slices are shown in square millimetres, with the letters of the patient's sides and the largest value on each.
    Raises FormatError when it cannot be written.
    """
    picture = evidence_picture(scan, evidence, caption=caption, n_slices=n_slices)
    with replacing(path) as (temp,):
        picture.save(temp, format="PNG", optimize=True)


def evidence_picture(scan: Volume, evidence: Volume, *, caption: str = "", n_slices: int = 8) -> Image.Image:
    """The picture `save_evidence` writes; scan and evidence lie on one grid."""
    limits = window_limits(scan)
    strength = evidence.data.max(axis=(1, 2))
    chosen = sorted(int(z) for z in np.argsort(-strength, kind="stable")[:n_slices])
    cells = []
    for z in chosen:
        cell = fit_millimetres(_slice(to_unit(scan.data[z], limits), evidence.data[z]), scan.spacing_mm[1:])
        write_sides(cell, scan, z)
        ImageDraw.Draw(cell).text((3, cell.height - 2), f"{strength[z]:.2f}", fill="orange", anchor="ld")
        cells.append(cell)
    return _sheet(cells, caption)


def _slice(grey: np.ndarray, evidence: np.ndarray) -> Image.Image:
    rgb = np.repeat(255 * grey[..., None], 3, axis=-1)
    levels = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(evidence, levels, _COLOURS[:, c]) for c in range(3)], -1)
    return Image.fromarray((rgb * (1 - 0.35 * evidence[..., None]) + _STRENGTH * colour).clip(0, 255).astype(np.uint8))


def _sheet(cells: list[Image.Image], caption: str) -> Image.Image:
    columns = min(_COLUMNS, len(cells))
    width, height = max(c.width for c in cells), max(c.height for c in cells)
    rows, line = -(-len(cells) // columns), 16 if caption else 0
    sheet = Image.new("RGB", (columns * width, rows * height + line), "black")
    for i, cell in enumerate(cells):
        sheet.paste(cell, ((i % columns) * width, (i // columns) * height))
    if caption:
        ImageDraw.Draw(sheet).text((4, rows * height + 2), caption, fill="white")
    return sheet
