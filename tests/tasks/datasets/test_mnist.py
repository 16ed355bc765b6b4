"""On the real files where they are given; otherwise on small ones of the same form."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.tasks import mnist, part_classes
from quickstudy.tasks.datasets import mnist as module

REAL = dict(module._FILES)
given = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "mnist" / "train-images-idx3-ubyte.gz").exists(),
    reason="QUICKSTUDY_DATA has no mnist; the loader is tested on small files below",
)


@given
def test_real_files() -> None:
    pool = mnist()
    assert pool.examples.shape == (70_000, 1, 28, 28)
    sizes = (pool.table >= 0).sum(1)  # as the publisher counts them
    assert sizes.tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert pool.classes("test") == ("8", "9")
    batch = pool.episodes(2, 5, 15).test.draw(0, 2, 0)
    batch.check_values()
    assert 0.05 < batch.support.x.mean() < 0.3  # strokes are 1 on a ground of 0
    assert np.bincount(pool.groups).tolist() == [60_000, 10_000]


@given
def test_the_checksums_are_those_of_the_real_files() -> None:
    folder = Path(os.environ["QUICKSTUDY_DATA"]) / "mnist"
    found = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in REAL}
    assert found == {name: md5 for name, (md5, _) in REAL.items()}


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty training images and ten test images; every pixel is the image's digit."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name, count in (("train", 20), ("t10k", 10)):
        digits = np.arange(count, dtype=np.uint8) % 10
        images = np.broadcast_to(digits[:, None, None], (count, 28, 28))
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", np.ascontiguousarray(images))
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", digits)
    counts = {name: ("", 20 if name.startswith("train") else 10) for name in REAL}
    monkeypatch.setattr(module, "_FILES", counts)
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    return folder


def test_files_of_the_same_form(small: Path) -> None:
    for pool in (mnist(), mnist(small)):
        assert pool.examples.shape == (30, 1, 28, 28)
        for digit in range(10):
            assert (pool.examples[pool.table[digit]] == digit).all()
        assert pool.groups.tolist() == [0] * 20 + [1] * 10
        assert pool.protocol["split"] == "train 0 1 2 3 4 5, validation 6 7, test 8 9"


def test_other_parts(small: Path) -> None:
    parts = part_classes([str(digit) for digit in range(10)], (0.2, 0.3), seed=1)
    pool = mnist(parts=parts)
    assert {split: len(pool.classes(split)) for split in parts} == {"train": 5, "validation": 2, "test": 3}
    with pytest.raises(ValueError, match="the test split names the class 'ten', of which there is no example"):
        mnist(parts={"train": ["0"], "validation": ["1"], "test": ["ten"]})


def test_without_given_data_it_is_downloaded_and_checked(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(small))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("QUICKSTUDY_DATA")
        monkeypatch.setattr(module, "_ADDRESS", f"http://127.0.0.1:{server.server_port}/{{}}")
        with pytest.raises(ValueError, match="has the md5 .*the download is discarded"):
            mnist()
        counts = {n: (hashlib.md5((small / n).read_bytes()).hexdigest(), e) for n, (_, e) in module._FILES.items()}
        monkeypatch.setattr(module, "_FILES", counts)
        assert mnist().examples.shape == (30, 1, 28, 28)
        server.shutdown()
    assert torch.equal(mnist().examples, mnist(small).examples)  # from the cache; nobody is asked


def test_damage_is_named(small: Path) -> None:
    path = small / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for wrong, message in (
        (content[:-20], r"train-images-idx3-ubyte\.gz is damaged: .*remove it to fetch it again"),
        (b"no archive", r"train-images-idx3-ubyte\.gz is damaged: Not a gzipped file"),
        (gzip.compress(b"\0\0\x0d\3" + bytes(12)), "is no idx file of images or labels"),
        (gzip.compress(b"\0\0\x08\3" + bytes(5)), "is no idx file of images or labels"),
        (gzip.compress(b""), "is no idx file of images or labels"),
        (gzip.compress(gzip.decompress(content)[:-1]), "says it holds 20×28×28 bytes, but has 15679"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=message):
            mnist()
    write_idx(path, np.zeros((19, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz has 19 entries, not 20"):
        mnist()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*train-images-idx3-ubyte\.gz; MNIST is"):
        mnist(small)
