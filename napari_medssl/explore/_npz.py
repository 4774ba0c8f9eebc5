"""Small results as NumPy archives that hold numbers and text only: opening one can run nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing

VERSION = 1


def save_arrays(path: Path, kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and JSON facts, whole or not at all.

    Raises FormatError for another ending than .npz, or when the disk refuses.
    """
    if path.suffix.lower() != ".npz":
        raise FormatError(f"cannot write {path.name}: {kind} is kept in a .npz file; call it {path.stem}.npz")
    card = json.dumps({"format": f"napari-medssl {kind}", "version": VERSION, **facts}, ensure_ascii=False)
    with replacing(path) as (part,), part.open("wb") as handle:
        np.savez_compressed(handle, card=np.array(card), **arrays)  # type: ignore[arg-type]  # its **kwargs are arrays


def load_arrays(path: Path, kind: str, names: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays `names` and the facts of a file by `save_arrays`.

    Raises FormatError saying what is wrong: no such file, another kind, damaged, or of a newer program.
    """
    if not path.is_file():
        raise FormatError(f"there is no file {path}; give an existing {kind}")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            card = json.loads(str(archive["card"])) if "card" in archive.files else {}
            arrays = {n: archive[n] for n in archive.files if n != "card"}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise FormatError(f"{path} is no {kind}, or it is cut off or damaged ({error}); make it again") from error
    if not isinstance(card, dict) or card.get("format") != f"napari-medssl {kind}":
        raise FormatError(f"{path} holds no {kind} of napari-medssl; give a file that this program saved as one")
    if card.get("version") != VERSION:
        raise FormatError(f"{path} is of version {card.get('version')!r}, this program reads {VERSION}; update it")
    missing = [n for n in names if n not in arrays]
    if missing:
        raise FormatError(f"{path} is damaged: it has no {missing[0]!r}; make it again")
    return arrays, card
