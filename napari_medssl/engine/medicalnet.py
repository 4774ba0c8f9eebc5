"""MedicalNet's published files, fetched once and kept for work without a network."""

from __future__ import annotations

from pathlib import Path

from napari_medssl.errors import WeightsError
from napari_medssl.samples.folder import DATA_VARIABLE, data_folder

_HUB = "https://huggingface.co/TencentMedicalNet/MedicalNet-Resnet{depth}/resolve/main/{file}"
MEDICALNET = {f"medicalnet-resnet{depth}": depth for depth in (10, 18, 34, 50)}
"""Names of the published networks, and their depths."""


def fetch_medicalnet(name: str, *, cache: Path | None = None, timeout_s: float = 30.0) -> Path:
    """The file of one network, trained on 23 data sets (MIT licence): from the offline folder, the cache, or the hub.

    The offline folder is the one NAPARI_MEDSSL_DATA names. cache: pooch's folder for this package when None. The hub
    states no hash that could be checked here; the file is read without running any code in it, and grids keep its
    SHA-256.

    Raises WeightsError when it is not here and cannot be downloaded.
    """
    depth = MEDICALNET[name]
    file = f"resnet_{depth}_23dataset.pth"
    folder = data_folder()
    if folder is not None and (folder / file).is_file():
        return folder / file
    # Imported here because it brings requests, which only those who fetch should pay for.
    import pooch
    from requests.exceptions import RequestException

    kept = Path(pooch.os_cache("napari-medssl")) if cache is None else cache
    url = _HUB.format(depth=depth, file=file)
    try:
        return Path(
            pooch.retrieve(
                url, known_hash=None, fname=file, path=kept, downloader=pooch.HTTPDownloader(timeout=timeout_s)
            )
        )
    except RequestException as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"the weights {name} are not on this computer and could not be downloaded ({first[:120]}); connect, set "
            f"https_proxy, or put the file from {url} into a folder and name it in {DATA_VARIABLE}"
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot keep {file} in {kept}: {error.strerror or error}") from error
