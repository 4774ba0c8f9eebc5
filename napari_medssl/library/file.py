"""A library as one portable file: safetensors with a JSON card, so that opening it can run nothing.

Layout, version 1. Metadata: "format", "version", "card" (JSON). The card has a list of scans and a list of examples;
the arrays of the n-th are called "scan.n.detail", "scan.n.overview", "example.n.mask" and, when features are kept,
"scan.n.summaries".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.labels import Label
from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeptScan
from napari_medssl.library.library import Library
from napari_medssl.library.stored_features import StoredFeatures

SUFFIX = ".medssl"
FORMAT = "napari-medssl library"
VERSION = 1
_CHUNK = 1 << 20


def save_library(path: Path, library: Library, *, overwrite: bool = False) -> Library:
    """Write a library, whole or not at all, and return it as it is in the file.

    Raises FormatError for another ending than .medssl, when the disk refuses, and, unless `overwrite`, when a file is
    there that is not the one the library was read from.
    """
    if path.suffix.lower() != SUFFIX:
        raise FormatError(f"cannot write {path.name}: a library's name ends in {SUFFIX}; call it {path.stem}{SUFFIX}")
    tensors, card = _packed(library)
    meta = {"format": FORMAT, "version": str(VERSION), "card": json.dumps(card, ensure_ascii=False)}
    content = save(tensors, metadata=meta)
    with replacing(path) as (part,):
        part.write_bytes(content)
        if not overwrite:  # as late as possible: what another program has added meanwhile must not be lost
            _check_unchanged(path, library)
    return load_library(path)


def load_library(path: Path) -> Library:
    """Read a library and check it against its hashes.

    Raises FormatError saying what is wrong: no such file, no library, cut off, damaged, or of a newer program.
    """
    if not path.is_file():
        raise FormatError(f"there is no library at {path}; give an existing {SUFFIX} file, or make one first")
    meta, tensors = _raw(path)
    if meta.get("format") != FORMAT:
        kind = "weights, not a library" if "modules" in meta else "no library of napari-medssl"
        raise FormatError(f"{path} holds {kind}; give a file made by 'medssl library create'")
    if not meta.get("version", "").isdecimal() or int(meta["version"]) > VERSION:
        raise FormatError(
            f"{path} is a library of version {meta.get('version')!r}, this program reads up to {VERSION}; "
            "update napari-medssl"
        )
    try:
        examples, features = _unpacked(json.loads(meta["card"]), tensors)
    except FormatError as error:
        raise FormatError(f"{path} is damaged ({error}); take a copy of it from where it came from") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise FormatError(
            f"{path} is damaged: its card cannot be understood ({type(error).__name__}: {error}); "
            "take a copy of it from where it came from"
        ) from error
    return Library(examples, features, file_sha256(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in chunks."""
    h = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            h.update(chunk)
    return h.hexdigest()


def _check_unchanged(path: Path, library: Library) -> None:
    if not path.exists():
        return
    if not library.file_sha256:
        raise FormatError(f"{path} exists already; add to it, or give the new library another name")
    if file_sha256(path) != library.file_sha256:
        raise FormatError(f"{path} has changed since it was read, nothing was written; read it again and repeat")


def _raw(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safe_open(str(path), framework="np") as f:
            meta = f.metadata() or {}
            known = meta.get("format") == FORMAT
            return meta, {k: f.get_tensor(k) for k in f.keys()} if known else {}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a number format NumPy has not, such as bfloat16
        raise FormatError(
            f"{path} is no library, or it is cut off or damaged ({error}); copy it again from where it came from"
        ) from error


def _packed(library: Library) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    tensors: dict[str, np.ndarray] = {}
    scans = library.scans
    number = {id(scan): n for n, scan in enumerate(scans)}
    for n, scan in enumerate(scans):
        tensors[f"scan.{n}.detail"] = scan.detail
        tensors[f"scan.{n}.overview"] = scan.overview
        stored = library.features_of(scan)
        if stored is not None:
            tensors[f"scan.{n}.summaries"] = stored.summaries
    for n, example in enumerate(library.examples):
        tensors[f"example.{n}.mask"] = example.mask
    card = {
        "scans": [_scan_card(scan, library.features_of(scan)) for scan in scans],
        "examples": [_example_card(example, number[id(example.scan)]) for example in library.examples],
    }
    return tensors, card


def _scan_card(scan: KeptScan, stored: StoredFeatures | None) -> dict[str, Any]:
    return {
        "shape": scan.shape,
        "affine": scan.affine.tolist(),
        "spacing_mm": [round(s, 6) for s in scan.spacing_mm],  # for people; the affine counts
        "modality": scan.modality,
        "scanner": scan.scanner,
        "dtype": scan.dtype,
        "slices": scan.slices,
        "box": scan.box,
        "step": scan.step,
        "source_sha256": scan.source_sha256,
        "sha256": scan.sha256,
        "features": None if stored is None else _features_card(stored),
    }


def _features_card(stored: StoredFeatures) -> dict[str, Any]:
    return {
        "weights_sha256": stored.weights_sha256,
        "sha256": stored.sha256(),
    }


def _example_card(example: Example, scan: int) -> dict[str, Any]:
    organ = example.organ
    return {
        "name": example.name,
        "organ": {"value": organ.value, "name": organ.name, "color": organ.color},
        "scan": scan,
        "slices": example.slices,
        "corner": example.corner,
        "note": example.note,
        "licence": example.licence,
        "sha256": example.sha256,
    }


def _unpacked(
    card: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[tuple[Example, ...], dict[str, StoredFeatures]]:
    scans = [_scan(facts, tensors, n) for n, facts in enumerate(card["scans"])]
    examples = tuple(_example(facts, scans, tensors, n) for n, facts in enumerate(card["examples"]))
    names = [e.name.casefold() for e in examples]
    if len(set(names)) < len(names):
        raise FormatError("two examples have the same name")
    organs = {(e.organ.value, e.organ.name.casefold()) for e in examples}
    if not len(organs) == len({v for v, _ in organs}) == len({n for _, n in organs}):
        raise FormatError("two organs share a value or a name")
    stored = {
        scan.sha256: _features(facts["features"], tensors, n)
        for n, (scan, facts) in enumerate(zip(scans, card["scans"], strict=True))
        if facts.get("features") is not None
    }
    return examples, stored


def _features(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray], n: int) -> StoredFeatures:
    stored = StoredFeatures(str(facts["weights_sha256"]), np.asarray(tensors[f"scan.{n}.summaries"]))
    if stored.sha256() != facts["sha256"]:
        raise FormatError(f"the features of scan {n} are not those that were saved")
    return stored


def _scan(facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray], n: int) -> KeptScan:
    modality = facts["modality"]
    scan = KeptScan(
        _whole(facts["shape"], 3),
        np.array(facts["affine"], np.float64),
        modality if modality in ("CT", "MR") else "auto",
        str(facts["dtype"]),
        _whole(facts["slices"]),
        _whole(facts["box"], 4),
        _voxels(tensors[f"scan.{n}.detail"]),
        _voxels(tensors[f"scan.{n}.overview"]),
        _whole(facts["step"], 2),
        str(facts["source_sha256"]),
        str(facts.get("scanner", "")),
    )
    if scan.sha256 != facts["sha256"]:
        raise FormatError(f"the voxels of scan {n} are not those that were saved")
    return scan


def _example(facts: Mapping[str, Any], scans: list[KeptScan], tensors: Mapping[str, np.ndarray], n: int) -> Example:
    organ = facts["organ"]
    red, green, blue = (min(255, max(0, c)) for c in _whole(organ["color"], 3))
    example = Example(
        str(facts["name"]),
        Label(int(organ["value"]), str(organ["name"]), (red, green, blue)),
        scans[_whole([facts["scan"]], 1)[0]],
        _whole(facts["slices"]),
        _whole(facts["corner"], 2),
        np.asarray(tensors[f"example.{n}.mask"]),
        str(facts.get("note", "")),
        str(facts.get("licence", "")),
    )
    if example.sha256 != facts["sha256"]:
        raise FormatError(f"the mask of the example {example.name!r} is not the one that was saved")
    return example


def _voxels(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        raise FormatError(f"voxels have the shape {array.shape} and the type {array.dtype}")
    return array


def _whole(values: Any, n: int | None = None) -> Any:
    """A tuple of `n` (any number when None) whole numbers, none negative."""
    found = tuple(values)
    if (n is not None and len(found) != n) or not all(type(v) is int and v >= 0 for v in found):
        raise FormatError(f"{values!r} was found where {n or 'some'} whole numbers belong")
    return found
