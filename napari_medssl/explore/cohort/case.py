"""The scans of a cohort: which files, and what each result is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medssl.errors import FormatError
from napari_medssl.io.formats import stem_of


@dataclass(frozen=True)
class Case:
    """One scan of a cohort.

    scan: absolute path of a file or of a folder of DICOM files; every worker must see it under this path.
    name: what its results are called; no two cases of a cohort have the same.
    series, index: which volume of a folder or file with several, as `io.read` takes them.
    regions: absolute path of a label map on the scan's grid, or None.
    """

    scan: Path
    name: str
    series: str | int | None = None
    index: int | None = None
    regions: Path | None = None


def cases_from(
    scans: Iterable[Path], *, series: str | int | None = None, index: int | None = None, regions: Sequence[Path] = ()
) -> tuple[Case, ...]:
    """A case for every scan named, and for every scan in the folders named, each once.

    scans: files (one that is missing becomes a case that fails, with its reason, like any other), folders of DICOM
        files, folders of scans (those in `images/` when there is one; label maps are left out by their names).
    series, index: for scans that are named themselves; what a folder holds is known.
    regions: label maps: as many files as cases, in their order, or one folder with files named like the scans.

    Raises FormatError when a folder holds no scan, or when the regions do not match the scans.
    """
    found = [c for path in scans for c in _cases_at(path, series, index)]
    unique = list({(c.scan, c.series, c.index): c for c in found}.values())
    if not unique:
        raise FormatError("no scan was given; name files or folders")
    names = distinct_names([c.scan for c in unique], [str(c.series or "") for c in unique])
    named = [replace(c, name=name) for c, name in zip(unique, names, strict=True)]
    return tuple(_with_regions(named, regions)) if regions else tuple(named)


def _cases_at(path: Path, series: str | int | None, index: int | None) -> list[Case]:
    from napari_medssl.train.dataset import cases_in, collect_cases

    full = path.expanduser().absolute()
    if not full.is_dir() or series is not None:
        return [Case(full, "", series, index)]
    found = collect_cases([full]) if (full / "images").is_dir() else cases_in([full])
    return [Case(c.image, "", c.series, index) for c in found]


def distinct_names(paths: Sequence[Path], extra: Sequence[str] = ()) -> list[str]:
    """A name for each path: its stem, with the folders above before it as far as it takes to tell equal ones apart.

    extra: appended where the paths themselves are equal (the series of a DICOM folder). Letter case does not tell
    names apart: not every file system keeps it.

    >>> distinct_names([Path("/a/x/scan.nii.gz"), Path("/b/x/scan.nii.gz"), Path("/c.nrrd")])
    ['a_x_scan', 'b_x_scan', 'c']
    """
    tails = list(extra) or [""] * len(paths)
    depth = [1] * len(paths)
    while True:
        names = [_name(p, n, "") for p, n in zip(paths, depth, strict=True)]
        lowered = [n.lower() for n in names]
        deeper = [
            i
            for i, name in enumerate(lowered)
            if lowered.count(name) > 1 and depth[i] < len(paths[i].parts) and len(_folders(paths, lowered, name)) > 1
        ]
        if not deeper:
            break
        for i in deeper:
            depth[i] += 1
    alike = [name for name in lowered if lowered.count(name) > 1]
    full = [_name(p, n, t if low in alike else "") for p, n, t, low in zip(paths, depth, tails, lowered, strict=True)]
    return _numbered(full)


def _folders(paths: Sequence[Path], names: Sequence[str], name: str) -> set[Path]:
    """The folders of the paths that are called `name`."""
    return {p.parent for p, n in zip(paths, names, strict=True) if n == name}


def _name(path: Path, depth: int, tail: str) -> str:
    above = [part for part in path.parts[-depth:-1] if part != path.anchor]
    stem = path.name if path.is_dir() else stem_of(path)
    return "_".join([*above, stem, *([tail] if tail else [])])


def _numbered(names: Sequence[str]) -> list[str]:
    """Names as they are, those still alike (`a.nii` and `a.nrrd` in one folder) with a number."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name.lower()] = seen.get(name.lower(), 0) + 1
        made.append(name if seen[name.lower()] == 1 else f"{name}-{seen[name.lower()]}")
    return made


def _with_regions(cases: Sequence[Case], regions: Sequence[Path]) -> list[Case]:
    masks = [path.expanduser().absolute() for path in regions]
    if len(masks) == 1 and masks[0].is_dir():
        masks = [_mask_in(masks[0], case) for case in cases]
    if len(masks) != len(cases):
        raise FormatError(
            f"{len(cases)} scans and {len(masks)} label maps were given; give as many label maps as scans, in the same "
            "order, or one folder in which they are named like the scans"
        )
    return [replace(case, regions=mask) for case, mask in zip(cases, masks, strict=True)]


def _mask_in(folder: Path, case: Case) -> Path:
    """The label map of a scan in a folder; where there is none, the path it should have, so that the case fails."""
    stem = stem_of(case.scan)
    found = sorted(p for p in folder.iterdir() if stem_of(p) == stem and p.suffix != ".json")
    return found[0] if found else folder / case.scan.name
