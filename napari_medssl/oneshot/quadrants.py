"""Where in a slice an organ may lie: halves and quadrants in the patient's own directions.

The published scheme (thesis 7.4.2.3, S63) keeps predictions only in the quadrants the organ occupies. It takes them
from the query's ground truth and from the image's left and right. Here they come from the labelled slice, a table of
anatomy or the user (B7-28), and sides are the patient's, read from the affine (B7-27).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError
from napari_medssl.geometry import Direction, patient_axis_signs
from napari_medssl.settings import setting
from napari_medssl.volume import Volume

Quadrant = frozenset[Direction]
"""Two patient directions, one of each in-plane axis: {"R", "P"} is right posterior."""

Centre = tuple[float, float]


@dataclass(frozen=True)
class QuadrantSettings:
    """Restriction of an organ to the quadrants it occupies."""

    source: Literal["off", "support", "anatomy", "manual"] = setting(
        "off", "Where the quadrants come from: the labelled slices, a table of organs by name, or `manual`."
    )
    manual: str = setting(
        "", "Patient directions the organ may lie in, such as 'R' (right half) or 'RP LP' (both posterior quadrants)."
    )
    margin_mm: float = setting(
        0.0,
        "Soft edge: how far beyond the quadrants the weight falls from 1 to 0; 0 is a hard boundary.",
        ge=0.0,
        le=200,
    )
    centre: Literal["image", "body"] = setting(
        "image", "Centre of the quadrants: of the image, or of the patient's outline.", advanced=True
    )
    least_share: float = setting(
        0.0, "A quadrant counts as occupied above this share of the organ's pixels.", ge=0.0, le=0.5, advanced=True
    )
    midline: Literal["off", "keep"] = setting(
        "off", "Organs on both sides of the midline: no restriction, or keep the quadrants all the same.", advanced=True
    )


# Sides by words in the organ's name; the first word found decides. None: crosses the midline. Only sides, not front and
# back, because those depend on posture and on how far the organ reaches.
_ANATOMY: tuple[tuple[str, Literal["R", "L"] | None], ...] = (
    ("gallbladder", "R"), ("gall bladder", "R"), ("spleen", "L"),
    ("liver", None), ("hepat", None), ("pancreas", None), ("stomach", None), ("bladder", None), ("aorta", None),
    ("vein", None), ("cava", None), ("ivc", None), ("esophagus", None), ("spin", None), ("vertebra", None),
    ("heart", None), ("ventric", None), ("atri", None), ("myocard", None), ("brain", None), ("prostate", None),
    ("uterus", None), ("trachea", None), ("colon", None), ("bowel", None), ("duoden", None),
    ("right", "R"), ("left", "L"), ("_r ", "R"), ("_l ", "L"), (" r ", "R"), (" l ", "L"),
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """Weights of one organ and what the user should know about them.

    weight: (Y, X) float32 in [0, 1] to multiply probabilities with; None means no restriction.
    quadrants: the allowed ones. warnings: sentences.
    """

    weight: npt.NDArray[np.float32] | None
    quadrants: frozenset[Quadrant]
    warnings: tuple[str, ...] = ()


def organ_region(
    query: Volume,
    settings: QuadrantSettings,
    *,
    organ: str,
    supports: Sequence[tuple[Volume, npt.NDArray[np.bool_]]] = (),
    orientation_known: bool = True,
) -> Region:
    """Where `organ` may lie in the slices of `query`.

    organ: its name. supports: labelled scans with a (Z, Y, X) mask of this organ each (source "support").
    orientation_known: False when the file says nothing about how the patient lay; gives a warning, because sides
    are then a guess.

    No restriction, with a warning, for organs on both sides of the midline unless `midline` is "keep" (R-82), for names
    the table does not know, and for labelled scans sliced in another plane.
    Raises SettingsError when `manual` cannot be understood or names a direction that is not in the slice plane.
    """
    if settings.source == "off":
        return Region(None, frozenset())
    names = plane_directions(query)
    if settings.source == "manual":
        found, warnings = parse_quadrants(settings.manual, query), list[str]()
    elif settings.source == "anatomy":
        found, warnings = _from_anatomy(organ, names)
    else:
        found, warnings = _from_supports(supports, names, organ, settings)
    if not orientation_known:
        warnings.append("the scan does not say how the patient lay; left and right of the quadrant mask may be wrong")
    if settings.source != "manual" and settings.midline == "off" and _crosses_midline(found):
        warnings.append(f"{organ} lies on both sides of the midline; its quadrant mask was left out")
        found = frozenset()
    if not found:
        return Region(None, frozenset(), tuple(warnings))
    return Region(quadrant_weight(query, found, settings), found, tuple(warnings))


def plane_directions(volume: Volume) -> tuple[tuple[Direction, Direction], tuple[Direction, Direction]]:
    """Patient directions at the (low, high) end of Y and of X: (("A", "P"), ("R", "L")) for an axial volume."""
    ends: dict[tuple[int, int], Direction] = {place: d for d, place in patient_axis_signs(volume).items()}
    return (ends[1, -1], ends[1, 1]), (ends[2, -1], ends[2, 1])


def occupied_quadrants(
    volume: Volume, mask: npt.NDArray[np.bool_], settings: QuadrantSettings | None = None
) -> frozenset[Quadrant]:
    """The quadrants that hold more than `least_share` of the organ's pixels. mask: (Z, Y, X) on the volume's grid."""
    settings = settings or QuadrantSettings()
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    rows, columns = plane_directions(volume)
    counts: dict[Quadrant, int] = {}
    for z in slices:
        y0, x0 = _centre(volume, int(z), settings)
        y, x = np.nonzero(mask[z])
        for low in (False, True):
            for left in (False, True):
                inside = ((y < y0) == low) & ((x < x0) == left)
                quadrant = frozenset((rows[0] if low else rows[1], columns[0] if left else columns[1]))
                counts[quadrant] = counts.get(quadrant, 0) + int(inside.sum())
    total = sum(counts.values())
    return frozenset(q for q, n in counts.items() if n > settings.least_share * total)


def quadrant_weight(
    volume: Volume, quadrants: Collection[Quadrant], settings: QuadrantSettings | None = None
) -> npt.NDArray[np.float32]:
    """(Y, X) float32: 1 in the quadrants, 0 elsewhere, with a linear fall over `margin_mm` beyond their edge.

    With `centre` "body" the outline of the middle slice decides for all slices.
    """
    from scipy import ndimage

    settings = settings or QuadrantSettings()
    y0, x0 = _centre(volume, volume.shape[0] // 2, settings)
    rows, columns = plane_directions(volume)
    low = (np.arange(volume.shape[1]) < y0)[:, None]
    left = (np.arange(volume.shape[2]) < x0)[None, :]
    allowed = np.zeros(volume.shape[1:], bool)
    for y, in_row in zip(rows, (low, ~low), strict=True):
        for x, in_column in zip(columns, (left, ~left), strict=True):
            if frozenset((y, x)) in quadrants:
                allowed |= in_row & in_column
    if settings.margin_mm == 0 or allowed.all() or not allowed.any():
        return allowed.astype(np.float32)
    away_mm = ndimage.distance_transform_edt(~allowed, sampling=volume.spacing_mm[1:])
    return np.asarray(np.clip(1.0 - away_mm / settings.margin_mm, 0.0, 1.0), np.float32)


def parse_quadrants(text: str, volume: Volume) -> frozenset[Quadrant]:
    """Quadrants from words of patient directions: "R" is a half (two quadrants), "RP" one quadrant.

    Raises SettingsError for an empty text, unknown letters, opposite letters in one word, or a direction across the
    slices (S or I on an axial scan).
    """
    rows, columns = plane_directions(volume)
    found: set[Quadrant] = set()
    for word in text.upper().replace(",", " ").split():
        letters = set(word)
        if not letters <= {*rows, *columns} or letters >= set(rows) or letters >= set(columns):
            known = ", ".join((*rows, *columns))
            raise SettingsError(
                f"{word!r} is no half or quadrant of these slices; use letters of {known}, one of each pair"
            )
        found |= {q for q in _all(rows, columns) if letters <= q}
    if not found:
        raise SettingsError("no quadrant is named; write for example 'R' for the patient's right half")
    return frozenset(found)


def anatomy_side(organ: str) -> Literal["R", "L", "midline", "unknown"]:
    """The side of the body an organ is expected on, by its name.

    >>> anatomy_side("Left kidney"), anatomy_side("spleen"), anatomy_side("liver"), anatomy_side("organ 1")
    ('L', 'L', 'midline', 'unknown')
    """
    name = f" {organ.lower()} "
    for word, side in _ANATOMY:
        if word in name:
            return side or "midline"
    return "unknown"


def _from_anatomy(
    organ: str, names: tuple[tuple[Direction, Direction], tuple[Direction, Direction]]
) -> tuple[frozenset[Quadrant], list[str]]:
    side = anatomy_side(organ)
    if side == "unknown":
        return frozenset(), [f"the anatomy table does not know {organ!r}; its quadrant mask was left out"]
    if side not in ("R", "L") or side not in names[0] + names[1]:
        return _all(*names), []
    return frozenset(q for q in _all(*names) if side in q), []


def _from_supports(
    supports: Sequence[tuple[Volume, npt.NDArray[np.bool_]]],
    names: tuple[tuple[Direction, Direction], tuple[Direction, Direction]],
    organ: str,
    settings: QuadrantSettings,
) -> tuple[frozenset[Quadrant], list[str]]:
    found: set[Quadrant] = set()
    for volume, mask in supports:
        found |= occupied_quadrants(volume, mask, settings)
    if not found:
        return frozenset(), [f"no labelled slice shows {organ}; its quadrant mask was left out"]
    if not found <= _all(*names):
        return frozenset(), [f"{organ} is labelled in another plane than the scan's; its quadrant mask was left out"]
    return frozenset(found), []


def _all(*names: tuple[Direction, Direction]) -> frozenset[Quadrant]:
    rows, columns = names
    return frozenset(frozenset((y, x)) for y in rows for x in columns)


def _crosses_midline(quadrants: Collection[Quadrant]) -> bool:
    sides = {letter for q in quadrants for letter in q}
    return {"R", "L"} <= sides


def _centre(volume: Volume, z: int, settings: QuadrantSettings) -> Centre:
    if settings.centre == "body":
        from napari_medssl.oneshot.superpixels import body_mask

        y, x = np.nonzero(body_mask(volume.data[z]))
        if len(y):
            return float(y.mean()), float(x.mean())
    return (volume.shape[1] - 1) / 2.0, (volume.shape[2] - 1) / 2.0
