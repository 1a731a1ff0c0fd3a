"""Files in torchvision's layout, downloads from a server on this machine, and real files."""

import functools
import hashlib
import http.server
import pickle
import threading

import numpy as np
import pytest
import scipy.io

from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError


def test_mnist_in_torchvisions_layout(tmp_path, samples):
    samples.write_mnist(tmp_path)
    made = load("mnist", tmp_path)
    assert samples.same(made.train_images, samples.train[:, :1])
    assert samples.same(made.test_images, samples.test[:, :1])
    assert made.test_labels.tolist() == samples.test_labels
    assert made.classes == samples.digits


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (lambda raw: raw[:-1], "is damaged"),
        (lambda raw: raw + b"\0", "is damaged"),
        (lambda raw: raw[:6], "is damaged"),
        (lambda raw: b"", "is damaged"),
        (lambda raw: b"\x1f" + raw[1:], "is damaged"),
        (lambda raw: raw[:4] + bytes(4) + raw[8:], "is damaged"),
        (None, "is missing: expected mnist under"),
    ],
)
def test_a_damaged_mnist_file_is_named(tmp_path, name, breakage, words, samples):
    samples.write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / name
    raw = path.read_bytes()
    path.unlink()
    if breakage:
        path.write_bytes(breakage(raw))
    with pytest.raises(InputError, match=rf"{name} {words}"):
        load("mnist", tmp_path)


def test_mnist_with_too_few_or_wrong_labels(tmp_path, samples):
    samples.write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(samples.idx(np.array(samples.train_labels[:4])))
    with pytest.raises(InputError, match="'mnist': 5 train images with 4 labels"):
        load("mnist", tmp_path)
    path.write_bytes(samples.idx(np.array([0, 0, 77, 0, 0])))
    with pytest.raises(InputError, match="'mnist': train image 2 has label 77, expected 0 to 9"):
        load("mnist", tmp_path)


def test_cifar_in_torchvisions_layout(tmp_path, monkeypatch, samples):
    from torchvision import datasets

    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()
    train, test = samples.pixels(4, 32, 32), samples.pixels(2, 32, 32, seed=1)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    batches = [{"data": train[part].reshape(2, -1), "labels": [0, 9]} for part in (slice(0, 2), slice(2, 4))]
    listed = [write(f"data_batch_{row}", batch) for row, batch in enumerate(batches)]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed)
    last = write("test_batch", {"data": test.reshape(2, -1), "labels": [3, 8]})
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [last])
    name, md5 = write("batches.meta", {"label_names": list(samples.digits)})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})

    made = load("cifar10", tmp_path, "rgb")
    assert samples.same(made.train_images, train)
    assert made.train_labels.tolist() == [0, 9, 0, 9]
    assert samples.same(made.test_images, test)
    assert made.classes == samples.digits
    write("test_batch", {})
    with pytest.raises(InputError, match=r"cifar-10-batches-py/test_batch is damaged"):
        load("cifar10", tmp_path)


def test_svhn_in_torchvisions_layout(tmp_path, monkeypatch, samples):
    from torchvision import datasets

    images = samples.pixels(3, 32, 32)
    listed = {}
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        # SVHN writes the digit 0 as 10.
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]], np.uint8)})
        listed[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    made = load("svhn", tmp_path, "rgb")
    assert samples.same(made.train_images, images)
    assert made.test_labels.tolist() == [0, 1, 9]
    assert made.classes == samples.digits


@pytest.fixture
def mirror(tmp_path, monkeypatch, samples):
    """MNIST as torchvision downloads it, from a server on this machine; yields the server's folder."""
    from torchvision import datasets

    folder = tmp_path / "mirror"
    digests = samples.write_mnist(folder, ".gz")
    handler = functools.partial(QuietHandler, directory=folder / "MNIST" / "raw")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(datasets.MNIST, "resources", list(digests.items()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder / "MNIST" / "raw"
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_download_is_kept_and_repaired(tmp_path, mirror, samples):
    made = load("mnist")
    assert samples.same(made.train_images, samples.train[:, :1])
    cache = tmp_path / "cache" / "gengap" / "data"
    assert [path.name for path in cache.iterdir()] == ["mnist"]
    labels = cache / "mnist" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.unlink()
    assert load("mnist").fingerprint == made.fingerprint
    for path in mirror.iterdir():
        path.unlink()
    assert load("mnist").fingerprint == made.fingerprint  # from the cache


def test_a_failed_download_leaves_nothing(tmp_path, mirror, monkeypatch):
    from torchvision import datasets

    def check():
        with pytest.raises(InputError, match=r"mnist could not be downloaded to .*/mnist(.|\n)*`data_root`"):
            load("mnist")
        assert not list((tmp_path / "cache" / "gengap" / "data").iterdir())

    archive = mirror / "t10k-labels-idx1-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    check()
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])  # no server listens there
    check()


@pytest.mark.parametrize(
    ("name", "first", "mean", "train_counts"),
    [
        ("mnist", [5, 0, 4, 1, 9], 0.1307, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("fashion-mnist", [9, 0, 0, 3, 0], 0.2860, [6000] * 10),
    ],
)
def test_real_mnist_family(gengap_data, name, first, mean, train_counts):
    loaded = load(name, f"{gengap_data}/torchvision")
    assert loaded.train_images.shape == (60000, 1, 28, 28)
    assert loaded.test_images.shape == (10000, 1, 28, 28)
    assert loaded.train_labels[:5].tolist() == first
    assert loaded.train_labels.bincount().tolist() == train_counts
    assert loaded.train_images.sum().item() / (255 * 60000 * 28 * 28) == pytest.approx(mean, abs=5e-5)
    assert loaded.duplicates == 0
    assert loaded.classes[1] == {"mnist": "1", "fashion-mnist": "Trouser"}[name]
