"""On small files in the form in which they were published, and with a folder a class."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from quickstudy.tasks import ClassPool, tiered_imagenet
from quickstudy.tasks.datasets import tiered_imagenet as module

from .small import colour, png, python2, write_image

LABELS = {"train": [0, 1, 2], "val": [3, 4], "test": [5, 6]}
SIZES = [2, 3, 4, 2, 3, 4, 2]  # the real classes differ in size too


@pytest.fixture(autouse=True)
def small_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CLASSES", {"train": 3, "validation": 2, "test": 2})
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    folder = tmp_path / "pickles"
    folder.mkdir()
    for split, labels in LABELS.items():
        order = [(label, image) for image in range(4) for label in labels if image < SIZES[label]]
        images = [png(label, image, 5) for label, image in order]
        if split == "val":
            images = [image[:, None] for image in images]  # as older OpenCV encoded them
        specific = np.array([label - labels[0] for label, _ in order])
        content = {"label_specific": specific, "label_specific_str": [f"kind {n // 2}" for n in labels]}
        (folder / f"{split}_images_png.pkl").write_bytes(pickle.dumps(images, 2))
        (folder / f"{split}_labels.pkl").write_bytes(python2(content))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "folders"
    for split, labels in LABELS.items():
        for label in labels:
            for image in range(SIZES[label]):
                write_image(root / split / f"n{label:08d}" / f"{image}.jpg", label, image, 5)
    return root


def check_contents(pool: ClassPool) -> None:
    assert [len(pool.classes(split)) for split in ("train", "validation", "test")] == [3, 2, 2]
    assert pool.examples.shape == (sum(SIZES), 3, 5, 5)
    for label, size in enumerate(SIZES):
        rows = pool.table[label][pool.table[label] >= 0]
        assert pool.examples[rows, :, 2, 2].tolist() == [list(colour(label, image)) for image in range(size)]


def test_pickles(pickles: Path) -> None:
    pool = tiered_imagenet(pickles, size=5)
    check_contents(pool)
    assert pool.classes("validation") == ("val000 kind 1", "val001 kind 2")
    assert pool.protocol["form"] == "pickles"


def test_folders(folders: Path) -> None:
    pool = tiered_imagenet(folders, size=5)
    check_contents(pool)
    assert pool.classes("test") == ("n00000005", "n00000006")
    assert pool.protocol["form"] == "images"


def test_without_data_it_says_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tiered_imagenet cannot be downloaded, .*train_images_png\.pkl"):
        tiered_imagenet()
    with pytest.raises(FileNotFoundError, match="holds no form of tiered-ImageNet. Expected: either train_images"):
        tiered_imagenet(tmp_path)


def test_a_missing_file_or_folder_is_named(pickles: Path, folders: Path) -> None:
    (pickles / "test_labels.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_labels\.pkl"):
        tiered_imagenet(pickles, size=5)
    for image in (folders / "val" / "n00000003").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match=r"n00000003 has no \.png, \.jpg, \.jpeg files"):
        tiered_imagenet(folders, size=5)
    (folders / "val").rename(folders / "valid")
    with pytest.raises(FileNotFoundError, match="no folder .*val, which should hold the classes of the validation"):
        tiered_imagenet(folders, size=5)


def test_wrong_files_are_named(pickles: Path, folders: Path) -> None:
    write_image(folders / "test" / "n00000007" / "0.jpg", 7, 0)
    with pytest.raises(ValueError, match="tiered_imagenet: the test split has 3 classes, not 2"):
        tiered_imagenet(folders, size=5)
    path = pickles / "train_labels.pkl"
    for wrong, message in (
        ({"labels": []}, r"train_labels\.pkl must hold a dict with label_specific"),
        ({"label_specific": np.zeros(3, int)}, "has 3 labels for 9 images"),
        ({"label_specific": np.full(9, 5), "label_specific_str": ["a"]}, "labels must lie in 0 … 0"),
    ):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(ValueError, match=message):
            tiered_imagenet(pickles, size=5)
    images = pickles / "train_images_png.pkl"
    images.write_bytes(images.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train_images_png\.pkl cannot be read as a pickle"):
        tiered_imagenet(pickles, size=5)
