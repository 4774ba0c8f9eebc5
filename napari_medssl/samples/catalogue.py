"""Every sample by name: made here, carried by nilearn, in a folder of this computer, or on the internet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.io import read
from napari_medssl.io.formats import stem_of
from napari_medssl.labels import PALETTE, Label
from napari_medssl.samples.folder import data_folder, labelled_files, load_labelled
from napari_medssl.samples.mni import load_mni, mni_available
from napari_medssl.samples.phantom import phantom
from napari_medssl.samples.registry import REMOTE_SAMPLES, RemoteSample, fetch
from napari_medssl.volume import Volume

Load = Callable[[], tuple[Volume, Volume | None]]


@dataclass(frozen=True)
class Sample:
    """A scan one can open by name.

    source: "made here", "nilearn", "folder" or "download". load: gives the scan and its label map, or None for it.
    organs: the labels a demonstration uses by default; empty for all.
    """

    name: str
    title: str
    source: str
    licence: str
    load: Load
    organs: tuple[str, ...] = ()


_ABDOMEN = ("liver", "right kidney", "left kidney", "spleen")
_FOLDERS = (
    ("ct", "btcv_ct", "a real abdominal CT (BTCV challenge)", "CC BY 4.0"),
    ("mr", "chaos_t2", "a real abdominal T2 MR (CHAOS challenge)", "CC BY-NC-SA 4.0"),
)


def samples() -> dict[str, Sample]:
    """The samples that can be opened on this computer, by name; those to download come last."""
    found = [
        Sample("phantom-ct", "abdomen phantom, CT", "made here", "BSD-3-Clause", partial(phantom, "CT"), _ABDOMEN),
        Sample("phantom-mr", "abdomen phantom, T2 MR", "made here", "BSD-3-Clause", partial(phantom, "MR"), _ABDOMEN),
    ]
    if mni_available():
        title = "MNI152 T1 brain template, 1 mm"
        found.append(Sample("mni", title, "nilearn", "ICBM, free to use", load_mni, ("lateral ventricles",)))
    folder = data_folder()
    for name, inside, title, licence in _FOLDERS:
        if folder is not None and (folder / inside / "images").is_dir():
            found.append(Sample(name, title, "folder", licence, partial(_first_of, folder / inside), _ABDOMEN))
    found += [Sample(r.name, r.title, "download", r.licence, partial(_remote, r)) for r in REMOTE_SAMPLES]
    return {sample.name: sample for sample in found}


def sample(name: str) -> Sample:
    """One sample. Raises SettingsError naming the choices when there is none of that name."""
    known = samples()
    if name not in known:
        raise SettingsError(f"no sample is called {name!r} here; choose one of: {', '.join(known)}")
    return known[name]


def from_folder(folder: Path, *, case: str | None = None) -> Sample:
    """A labelled scan of any folder with `images/` and `labels/`: the file called `case`, or the first one.

    Raises FormatError when the folder holds none, or none of that name.
    """
    found = labelled_files(folder)
    files = next((f for f in found if case in (None, f.image.name, stem_of(f.image))), None)
    if files is None:
        raise FormatError(f"{folder} has no labelled scan {case!r}; it has: {', '.join(f.image.name for f in found)}")
    name = stem_of(files.image)
    return Sample(name, f"{files.image}", "folder", "as its folder says", partial(load_labelled, files))


def _first_of(folder: Path) -> tuple[Volume, Volume]:
    return load_labelled(labelled_files(folder)[0])


def _remote(entry: RemoteSample) -> tuple[Volume, Volume | None]:
    image = read(fetch(entry.image))
    if entry.labels is None:
        return image, None
    labels = read(fetch(entry.labels), labels=True)
    names = tuple(Label(v, name, PALETTE[i % len(PALETTE)]) for i, (v, name) in enumerate(entry.organs))
    kept = np.where(np.isin(labels.data, [label.value for label in names]), labels.data, 0)
    return image, dataclasses.replace(labels, data=kept.astype(labels.data.dtype), labels=names)
