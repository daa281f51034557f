import functools
import hashlib
import http.server
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from disttrain.data.importers import mnist
from disttrain.data.importers.download import download
from disttrain.errors import DataError
from tests.unit.data.test_idx import IMAGES, LABELS, write

SHIPPED = Path(__file__).parents[3] / "data" / "mnist"
NAMES = list(mnist.SHA256)


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(QuietServer, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Four small files under MNIST's names and with checksums of their own, and no shipped ones."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in NAMES:
        path = write(folder / f"{name}.gz", IMAGES if "images" in name else LABELS)
        monkeypatch.setitem(mnist.SHA256, name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(mnist, "shipped_folders", lambda name: ())
    return folder


@pytest.fixture
def dead_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_the_shipped_files_are_mnist():
    imported = mnist.import_mnist(SHIPPED)
    inputs, targets = imported.splits["train"]
    assert inputs.shape == (60000, 28, 28)
    assert inputs.dtype == np.uint8
    assert np.bincount(targets).tolist()[:3] == [5923, 6742, 5958]
    assert imported.splits["test"][0].shape == (10000, 28, 28)


def test_the_shipped_files_are_found_from_elsewhere_without_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mnist, "import_idx", lambda files: files)
    assert mnist.import_mnist(mirrors=())["train"][0].resolve().parent == SHIPPED.resolve()


def test_a_folder_of_ones_own(small):
    assert set(mnist.import_mnist(small).splits) == {"train", "test"}


def test_a_changed_file_is_named(small):
    path = small / f"{NAMES[1]}.gz"
    write(path, LABELS + np.uint8(1))
    with pytest.raises(DataError, match=f"{path} is not MNIST's {NAMES[1]}") as caught:
        mnist.import_mnist(small)
    assert caught.value.exit_code == 3


def test_a_folder_that_lacks_files_is_refused(small):
    for name in NAMES[2:]:
        (small / f"{name}.gz").unlink()
    with pytest.raises(DataError, match="does not hold t10k-images"):
        mnist.import_mnist(small)


def test_files_are_downloaded_once_past_a_dead_mirror(small, mirror, dead_address, tmp_path):
    folder, url = mirror
    for name in NAMES:
        (small / f"{name}.gz").rename(folder / f"{name}.gz")
    cache = tmp_path / "cache" / "mnist"
    imported = mnist.import_mnist(mirrors=(dead_address, url), cache=cache)
    np.testing.assert_array_equal(imported.splits["train"][0], IMAGES)
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert set(mnist.import_mnist(mirrors=(), cache=cache).splits) == {"train", "test"}


def test_without_network_the_message_says_what_to_do(small, dead_address, tmp_path):
    with pytest.raises(DataError) as caught:
        mnist.import_mnist(mirrors=(dead_address,), cache=tmp_path / "cache")
    assert f"{NAMES[0]}.gz can't be downloaded ({dead_address}: " in str(caught.value)
    assert "give it with --from FOLDER" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wrong_file_from_a_mirror_is_not_kept(mirror, tmp_path):
    folder, url = mirror
    (folder / "a.gz").write_bytes(b"<html>please log in</html>")
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="wrong checksum"):
        download("a.gz", "0" * 64, [url], cache)
    with pytest.raises(DataError, match=r"(?i)not found"):
        download("b.gz", "0" * 64, [url], cache)
    assert list(cache.iterdir()) == []


def test_a_mirror_that_never_answers_is_given_up(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DataError, match="timed out"):
            download("a.gz", "0" * 64, [url], tmp_path, timeout=0.2)
