"""On small files in both forms that are around."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.tasks import ClassPool, mini_imagenet
from quickstudy.tasks.datasets import mini_imagenet as module

from .small import colour, painted, write_image

CLASSES = {"train": 3, "val": 2, "test": 2}
EACH = 4


@pytest.fixture(autouse=True)
def small_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CLASSES", {"train": 3, "validation": 2, "test": 2})
    monkeypatch.setattr(module, "_EACH", EACH)
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)


def labels() -> dict[str, list[int]]:
    return {"train": [0, 1, 2], "val": [3, 4], "test": [5, 6]}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The csv files with their images, rows of different classes in turns."""
    folder = tmp_path / "mini_imagenet"
    for split, numbers in labels().items():
        rows = ["filename,label"]
        for image in range(EACH):
            for label in numbers:
                rows.append(f"n{label}_{image}.jpg,n{label:08d}")
                write_image(folder / "images" / f"n{label}_{image}.jpg", label, image)
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    folder = tmp_path / "pickled"
    folder.mkdir()
    for split, numbers in labels().items():
        images = np.stack([painted(label, image, 6) for image in range(EACH) for label in numbers])
        rows = {f"n{label:08d}": list(range(i, len(images), len(numbers))) for i, label in enumerate(numbers)}
        content = {"image_data": images, "class_dict": rows}
        (folder / f"mini-imagenet-cache-{split}.pkl").write_bytes(pickle.dumps(content, 2))
    return folder


def check_contents(pool: ClassPool, size: int) -> None:
    assert pool.classes("train") == ("n00000000", "n00000001", "n00000002")
    assert pool.classes("validation") == ("n00000003", "n00000004")
    assert pool.classes("test") == ("n00000005", "n00000006")
    assert pool.examples.shape == (7 * EACH, 3, size, size)
    assert pool.examples.dtype == torch.uint8
    for label, name in enumerate(pool.names):
        assert name == f"n{label:08d}"
        for image, row in enumerate(pool.table[label]):
            assert pool.examples[row].flatten(1).unique(dim=1).squeeze(1).tolist() == list(colour(label, image))


def test_tables_and_images(tables: Path) -> None:
    pool = mini_imagenet(tables, size=6)
    check_contents(pool, 6)
    assert pool.protocol == {
        "data": "mini_imagenet",
        "split": "Ravi & Larochelle, 64 / 16 / 20 classes",
        "form": "images",
        "resize": "area to 6×6",
    }
    pool.episodes(2, 1, 2).test.draw(0, 3, 0).check_values()


def test_pickles(pickles: Path) -> None:
    pool = mini_imagenet(pickles, size=4)
    check_contents(pool, 4)
    assert pool.protocol["form"] == "pickles"


def test_the_folder_of_all_data(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tables.parent))
    check_contents(mini_imagenet(size=6), 6)


def test_images_are_packed_once_and_again_when_a_file_changes(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mini_imagenet(tables, size=6)
    with monkeypatch.context() as patch:
        patch.setattr("quickstudy.tasks.datasets.image_classes._packed", lambda *_: pytest.fail("packed again"))
        assert torch.equal(mini_imagenet(tables, size=6).examples, first.examples)
    write_image(tables / "images" / "n0_0.jpg", 99, 99, size=60)
    again = mini_imagenet(tables, size=6)
    assert again.examples[again.table[0, 0], 0, 0, 0] == 99


def test_without_data_it_says_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither folder nor QUICKSTUDY_DATA .* train\.csv, .*images/"):
        mini_imagenet()
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'\. Expected: either train\.csv"):
        mini_imagenet(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no form of mini-ImageNet. Expected: either train"):
        mini_imagenet(tmp_path)


def test_a_missing_file_is_named(tables: Path, pickles: Path) -> None:
    (tables / "images" / "n3_1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.csv names 1 files that are not there, .*n3_1\.jpg"):
        mini_imagenet(tables, size=6)
    (tables / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.csv"):
        mini_imagenet(tables, size=6)
    (pickles / "mini-imagenet-cache-test.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"mini-imagenet-cache-test\.pkl"):
        mini_imagenet(pickles, size=6)


def test_wrong_files_are_named(tables: Path, pickles: Path) -> None:
    (tables / "images" / "n1_1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"n1_1\.jpg cannot be read as an image"):
        mini_imagenet(tables, size=6)
    (tables / "train.csv").write_text("file;class\n")
    with pytest.raises(ValueError, match=r"train\.csv must have the columns filename and label, got file;class"):
        mini_imagenet(tables, size=6)
    path = pickles / "mini-imagenet-cache-val.pkl"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"mini-imagenet-cache-val\.pkl cannot be read as a pickle"):
        mini_imagenet(pickles, size=6)
    for wrong, message in (
        ({"images": 1}, "must hold a dict of image_data and class_dict"),
        ({"image_data": np.zeros((4, 6, 6)), "class_dict": {}}, "must be a uint8 array"),
        ({"image_data": np.zeros((4, 6, 6, 3), np.uint8), "class_dict": {"a": [4]}}, "'a' has images .* among the 4"),
    ):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(ValueError, match=message):
            mini_imagenet(pickles, size=6)


def test_wrong_classes_are_named(tables: Path) -> None:
    text = (tables / "test.csv").read_text()
    (tables / "test.csv").write_text("".join(line for line in text.splitlines(True) if "n00000006" not in line))
    with pytest.raises(ValueError, match="mini_imagenet: the test split has 1 classes, not 2"):
        mini_imagenet(tables, size=6)
    (tables / "test.csv").write_text(text.replace("n00000006", "n00000000"))
    with pytest.raises(ValueError, match="mini_imagenet: the class 'n00000000' stands twice; splits must be disjoint"):
        mini_imagenet(tables, size=6)
    (tables / "test.csv").write_text(text.replace("n6_0.jpg,n00000006\n", ""))
    with pytest.raises(ValueError, match="mini_imagenet: the class 'n00000006' has 3 images, not 4"):
        mini_imagenet(tables, size=6)
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        mini_imagenet(tables, size=0)
