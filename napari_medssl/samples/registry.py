"""Public real scans, fetched once, checked against their SHA-256 and kept for work without a network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from napari_medssl.errors import MedSSLError
from napari_medssl.samples.folder import DATA_VARIABLE, data_folder


class SampleError(MedSSLError):
    """A sample is not here and cannot be fetched, or is not the file it should be."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the internet: its name here, its address, what its bytes must hash to, and how many there are."""

    name: str
    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class RemoteSample:
    """A public scan, with a label map where there is one.

    organs: label value to name. note: where it comes from.
    """

    name: str
    title: str
    licence: str
    image: RemoteFile
    labels: RemoteFile | None = None
    organs: tuple[tuple[int, str], ...] = ()
    note: str = ""


# Addresses name the commit in which the file was last changed, so the bytes behind them cannot change.
_TPTBOX = "https://raw.githubusercontent.com/Hendrik-code/TPTBox"
_TOTALSEG = "https://raw.githubusercontent.com/wasserth/TotalSegmentator"

REMOTE_SAMPLES: tuple[RemoteSample, ...] = (
    RemoteSample(
        "spine-ct",
        "three lumbar vertebrae in CT, 1.5 mm, with labels",
        "Apache-2.0",
        RemoteFile(
            "sub-ct_label-22_ct.nii.gz",
            f"{_TPTBOX}/8ddedcddc4588651ffa7ed5f8e19105c1f292f1c/TPTBox/tests/sample_ct/sub-ct_label-22_ct.nii.gz",
            "51e09da4b00f8a22c17bfc55f63b8c21d2a9f6f1d3e4044143f29e12744abec9",
            357_914,
        ),
        RemoteFile(
            "sub-ct_seg-vert_label-22_msk.nii.gz",
            f"{_TPTBOX}/3427a5d01e1f1802efd083732d7f2e88880ce083/TPTBox/tests/sample_ct/"
            "sub-ct_seg-vert_label-22_msk.nii.gz",
            "e5529ffb420d83be69c5fc0fbac4b6990bcaa067a5c0939fc7d705c47527ea1d",
            12_844,
        ),
        ((21, "vertebra L2"), (22, "vertebra L3"), (23, "vertebra L4")),
        "test data of TPTBox (Graf and others)",
    ),
    RemoteSample(
        "spine-mr",
        "three cervical vertebrae with discs in T2-weighted MR, 1.5 mm, with labels",
        "Apache-2.0",
        RemoteFile(
            "sub-mri_label-6_T2w.nii.gz",
            f"{_TPTBOX}/0332b77c2f68ed121a5859e151c58c69f5e97ae7/TPTBox/tests/sample_mri/sub-mri_label-6_T2w.nii.gz",
            "961495b42cdfc02eaf50eb3f471d705793b82802fedb05f5f02aa5367528cf44",
            259_999,
        ),
        RemoteFile(
            "sub-mri_seg-vert_label-6_msk.nii.gz",
            f"{_TPTBOX}/fd32625b5efab42766121d0a75928a8836931ed9/TPTBox/tests/sample_mri/"
            "sub-mri_seg-vert_label-6_msk.nii.gz",
            "14ee727a3f565512ddbf0c9d8ce8d9ce127acc43f0d21bc7771c2fcbd343023a",
            12_144,
        ),
        ((5, "vertebra C5"), (6, "vertebra C6"), (7, "vertebra C7"), (105, "disc C5/C6"), (106, "disc C6/C7")),
        "test data of TPTBox (Graf and others)",
    ),
    RemoteSample(
        "body-ct",
        "chest and abdomen in CT, 3 mm, without labels",
        "Apache-2.0",
        RemoteFile(
            "example_ct.nii.gz",
            f"{_TOTALSEG}/0effae9d718aab0c118ce1f8982dcd16b9e32a50/tests/reference_files/example_ct.nii.gz",
            "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1",
            2_206_612,
        ),
        note="test data of TotalSegmentator (Wasserthal and others)",
    ),
    RemoteSample(
        "body-mr",
        "twenty slices of an abdomen in MR, 3 mm, without labels",
        "Apache-2.0",
        RemoteFile(
            "example_mr_sm.nii.gz",
            f"{_TOTALSEG}/acd2ff69982218e1f67e9081e587758eceb1adfc/tests/reference_files/example_mr_sm.nii.gz",
            "209b46efaff595dd54a9332872e17a722b62654bbb68dbd89acd5090701bbd4f",
            277_762,
        ),
        note="test data of TotalSegmentator (Wasserthal and others)",
    ),
)


def fetch(file: RemoteFile, *, cache: Path | None = None, timeout_s: float = 30.0) -> Path:
    """The file on this computer: from the offline folder, from the cache, or downloaded into the cache.

    The offline folder is the one NAPARI_MEDSSL_DATA names (the file lies in it or one folder below). cache: pooch's
    folder for this package when None. Proxies are taken from the environment. The file takes its name only when it is
    complete and its SHA-256 is right; otherwise nothing is left behind.

    Raises SampleError when it is not here and cannot be downloaded, or has another hash.
    """
    offline = _offline(file)
    if offline is not None:
        return offline
    # Imported here because it brings requests, which only those who fetch should pay for.
    import pooch
    from requests.exceptions import RequestException

    folder = Path(pooch.os_cache("napari-medssl")) if cache is None else cache
    try:
        return Path(
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=file.name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=timeout_s),
            )
        )
    except RequestException as error:
        raise SampleError(
            f"the sample {file.name} is not on this computer and could not be downloaded ({_short(error)}); "
            f"connect, set https_proxy, or put the file from {file.url} into a folder and name it in {DATA_VARIABLE}"
        ) from error
    except ValueError as error:
        raise SampleError(
            f"what {file.url} gave is not the registered file (its SHA-256 differs); nothing was kept, try again later"
        ) from error
    except OSError as error:
        raise SampleError(f"cannot keep the sample {file.name} in {folder}: {error.strerror or error}") from error


def _offline(file: RemoteFile) -> Path | None:
    folder = data_folder()
    if folder is None:
        return None
    for path in (folder / file.name, *sorted(folder.glob(f"*/{file.name}"))):
        if path.is_file():
            if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                raise SampleError(f"{path} is not the registered sample (its SHA-256 differs); replace or remove it")
            return path
    return None


def _short(error: Exception) -> str:
    """The reason at the end of a chain of wrapped network errors, without object addresses."""
    text = str(error)
    for known, reason in (("NameResolution", "no such host"), ("timed out", "timed out"), ("refused", "refused")):
        if known in text:
            return reason
    return text if len(text) < 80 else type(error).__name__
