"""One volume out of a file that holds several."""

from __future__ import annotations

from pathlib import Path

from napari_medssl.errors import FormatError


def choose_volume(path: Path, shape: tuple[int, ...], index: int | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Index of the volume along the axes after the third, and a note when it was chosen for the caller.

    shape: the file's axes, 2 (one slice) to 4. The first volume is taken when `index` is None, and said so.

    Raises FormatError for 1 or more than 4 axes and for an index the file does not have.
    """
    if not 2 <= len(shape) <= 4:
        raise FormatError(
            f"{path} has {len(shape)} axes ({' x '.join(map(str, shape))}); "
            "a volume has 3, or 4 with time or channel last"
        )
    count = shape[3] if len(shape) == 4 else 1
    notes = choose(path, count, index)[1]
    return ((index or 0,) if len(shape) == 4 else ()), notes


def choose(path: Path, count: int, index: int | None) -> tuple[int, tuple[str, ...]]:
    """`index`, or 0 with a note when there are several. Raises FormatError when there is no such volume."""
    if index is not None and not 0 <= index < count:
        held = f"{count} volumes, numbered 0 to {count - 1}" if count > 1 else "one volume, number 0"
        raise FormatError(f"{path} has no volume {index}; it holds {held}")
    if index is None and count > 1:
        return 0, (
            f"the file holds {count} volumes; the first one was read (choose another with index=1..{count - 1})",
        )
    return index or 0, ()
