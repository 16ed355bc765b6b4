"""On small files of the form of CIFAR-100's, written as Python 2 did."""

import functools
import hashlib
import http.server
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from quickstudy.tasks import ClassPool, fc100
from quickstudy.tasks.datasets import fc100 as module

from .small import colour, painted, python2

COARSE = ["aquatic_mammals", "fish", "large_carnivores", "vehicles_1"]
FINE = ["bear", "beaver", "bus", "lion", "shark", "whale"]
COARSE_OF = [2, 0, 3, 2, 1, 0]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the archive's folder is."""
    monkeypatch.setattr(module, "_CLASSES", {"train": 2, "validation": 2, "test": 2})
    monkeypatch.setattr(module, "_EACH", 3)
    monkeypatch.setattr(module, "_HELD_OUT", {"validation": ("large_carnivores",), "test": ("aquatic_mammals",)})
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for part, images in (("train", (0, 1)), ("test", (2,))):
        order = [(label, image) for image in images for label in range(6)]
        data = np.stack([painted(*which, 32).transpose(2, 0, 1).ravel() for which in order])
        fine = [label for label, _ in order]
        content = {"data": data, "fine_labels": fine, "coarse_labels": [COARSE_OF[label] for label in fine]}
        (folder / part).write_bytes(python2(content))
    (folder / "meta").write_bytes(python2({"fine_label_names": FINE, "coarse_label_names": COARSE}))
    return tmp_path / "cifar100"


def archived(files: Path, place: Path) -> Path:
    place.mkdir(exist_ok=True)
    with tarfile.open(place / "cifar-100-python.tar.gz", "w:gz") as archive:
        archive.add(files / "cifar-100-python", "cifar-100-python")
    return place


def check_contents(pool: ClassPool) -> None:
    assert pool.classes("train") == ("vehicles_1/bus", "fish/shark")
    assert pool.classes("validation") == ("large_carnivores/bear", "large_carnivores/lion")
    assert pool.classes("test") == ("aquatic_mammals/beaver", "aquatic_mammals/whale")
    assert pool.examples.shape == (18, 3, 32, 32)
    for label in range(6):
        found = pool.examples[pool.table[label], :, 5, 30].tolist()
        assert found == [list(colour(label, image)) for image in range(3)]


def test_files_and_archive(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_contents(fc100(files))
    check_contents(fc100(files / "cifar-100-python"))
    check_contents(fc100(archived(files, tmp_path / "archive")))
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path))
    check_contents(fc100())


def test_the_superclasses_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(names) for names in module._HELD_OUT.values()] == [4, 4]
    assert not set(module._HELD_OUT["validation"]) & set(module._HELD_OUT["test"])


def test_without_given_data_it_is_downloaded_and_checked(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = archived(files, tmp_path / "served")
    md5 = hashlib.md5((served / "cifar-100-python.tar.gz").read_bytes()).hexdigest()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(module, "_ADDRESS", f"http://127.0.0.1:{server.server_port}/cifar-100-python.tar.gz")
        with pytest.raises(ValueError, match=f"has the md5 {md5}, but eb9058c3a382ffc7106e4002c42a8d85 was expected"):
            fc100()
        monkeypatch.setattr(module, "_MD5", md5)
        check_contents(fc100())
        server.shutdown()
    check_contents(fc100())  # from the cache


def test_what_is_missing_is_named(files: Path, tmp_path: Path) -> None:
    (files / "cifar-100-python" / "meta").unlink()
    with pytest.raises(FileNotFoundError, match="cifar-100-python has no file 'meta'"):
        fc100(files)
    with pytest.raises(FileNotFoundError, match=r"holds neither cifar-100-python\.tar\.gz nor its files"):
        fc100(tmp_path / "nowhere")
    place = archived(files, tmp_path / "archive")
    with pytest.raises(ValueError, match="is not the archive of CIFAR-100: .*cifar-100-python/meta"):
        fc100(place)


def test_damage_is_named(files: Path, tmp_path: Path) -> None:
    archive = archived(files, tmp_path / "archive") / "cifar-100-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cifar-100-python\.tar\.gz is damaged: .*remove it to fetch it again"):
        fc100(archive.parent)
    train = files / "cifar-100-python" / "train"
    content = train.read_bytes()
    train.write_bytes(content[:-50])
    with pytest.raises(ValueError, match="train cannot be read as a pickle"):
        fc100(files)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("meta", {"fine_label_names": FINE, "coarse_label_names": COARSE[1:]}, "no superclass 'aquatic_mammals'"),
        ("meta", {"fine_label_names": FINE}, "the file 'meta' .* has no coarse_label_names"),
        (
            "train",
            {"data": np.zeros((1, 9), np.uint8), "fine_labels": [0], "coarse_labels": [0]},
            r"data of 'train' .* must be uint8 \[1, 3072\], got \(1, 9\)",
        ),
        (
            "train",
            {"data": np.zeros((6, 3072), np.uint8), "fine_labels": [0] * 6, "coarse_labels": [1] * 6},
            "the class 'bear' has 2 superclasses",
        ),
    ],
)
def test_wrong_contents_are_named(files: Path, part: str, content: dict, message: str) -> None:
    (files / "cifar-100-python" / part).write_bytes(python2(content))
    with pytest.raises(ValueError, match=message):
        fc100(files)


def test_a_class_with_too_few_images_is_named(files: Path) -> None:
    test = {"data": np.zeros((0, 3072), np.uint8), "fine_labels": [], "coarse_labels": []}
    (files / "cifar-100-python" / "test").write_bytes(python2(test))
    with pytest.raises(ValueError, match="fc100: the class 'large_carnivores/bear' has 2 images, not 3"):
        fc100(files)
