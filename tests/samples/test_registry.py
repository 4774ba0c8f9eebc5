"""Downloads are checked, leave nothing half done, and are not needed where an offline folder is named."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_medssl.samples import registry
from napari_medssl.samples.registry import REMOTE_SAMPLES, RemoteFile, SampleError, fetch

BYTES = b"the voxels of a scan"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a local HTTP server with the file scan.bin."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NAPARI_MEDSSL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "data_folder", lambda: None)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "scan.bin").write_bytes(BYTES)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def remote(server, *, name="scan.bin", content=BYTES):
    return RemoteFile("scan.bin", f"{server}/{name}", hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_is_fetched_once_and_then_kept(server, tmp_path):
    cache = tmp_path / "cache"
    path = fetch(remote(server), cache=cache)
    assert path.read_bytes() == BYTES
    gone = RemoteFile("scan.bin", "http://127.0.0.1:9/none", remote(server).sha256, len(BYTES))
    assert fetch(gone, cache=cache, timeout_s=1) == path, "the second time needs no network"


def test_a_wrong_hash_is_refused_and_leaves_nothing(server, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(SampleError, match="SHA-256 differs"):
        fetch(remote(server, content=b"something else"), cache=cache)
    assert list(cache.iterdir()) == []


def test_a_missing_file_and_a_dead_server_say_what_to_do(server, tmp_path):
    with pytest.raises(SampleError, match=r"could not be downloaded.*NAPARI_MEDSSL_DATA"):
        fetch(remote(server, name="absent.bin"), cache=tmp_path / "cache")
    dead = RemoteFile("scan.bin", "http://127.0.0.1:9/scan.bin", "0" * 64, 1)
    with pytest.raises(SampleError, match="refused"):
        fetch(dead, cache=tmp_path / "cache", timeout_s=1)
    assert list((tmp_path / "cache").glob("*")) == []


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server)
    monkeypatch.setenv("no_proxy", "")
    elsewhere = RemoteFile("scan.bin", "http://nowhere.invalid/scan.bin", hashlib.sha256(BYTES).hexdigest(), len(BYTES))
    # The test server is no proxy: asked for the absolute address it answers 404, which shows that it was asked.
    with pytest.raises(SampleError, match="404"):
        fetch(elsewhere, cache=tmp_path / "cache", timeout_s=5)


@pytest.mark.parametrize("below", [".", "tptbox"])
def test_the_offline_folder_comes_before_the_network(tmp_path, monkeypatch, below):
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / "scan.bin").write_bytes(BYTES)
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(tmp_path))
    unreachable = RemoteFile("scan.bin", "http://nowhere.invalid/x", hashlib.sha256(BYTES).hexdigest(), len(BYTES))
    assert fetch(unreachable).read_bytes() == BYTES


def test_a_damaged_file_in_the_offline_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "scan.bin").write_bytes(b"damaged")
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(tmp_path))
    with pytest.raises(SampleError, match=r"scan\.bin is not the registered sample"):
        fetch(RemoteFile("scan.bin", "http://nowhere.invalid/x", "0" * 64, 7))


def test_registered_samples_are_pinned_and_licensed():
    files = [f for s in REMOTE_SAMPLES for f in (s.image, s.labels) if f is not None]
    assert len({f.name for f in files}) == len(files)
    for f in files:
        assert len(bytes.fromhex(f.sha256)) == 32
        assert f.url.startswith("https://")
        assert any(len(part) == 40 for part in f.url.split("/")), "the address names a commit"
    assert all(s.licence for s in REMOTE_SAMPLES)


def test_registered_hashes_are_those_of_the_real_files(shared_data):
    for sample in REMOTE_SAMPLES:
        for file in (sample.image, sample.labels):
            if file is not None:
                (path,) = shared_data.glob(f"*/{file.name}")
                assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
                assert path.stat().st_size == file.size_bytes
