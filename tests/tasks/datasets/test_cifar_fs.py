"""On small files of the same form."""

from pathlib import Path

import pytest

from quickstudy.tasks import cifar_fs
from quickstudy.tasks.datasets import cifar_fs as module

from .small import colour, write_image

SPLITS = {"train": ["apple", "bee"], "val": ["crab"], "test": ["door_bell"]}
NAMES = ["apple", "bee", "crab", "door_bell"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_CLASSES", {"train": 2, "validation": 1, "test": 1})
    monkeypatch.setattr(module, "_EACH", 3)
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    root = tmp_path / "cifar_fs"
    for split, names in SPLITS.items():
        (root / "splits" / "bertinetto").mkdir(parents=True, exist_ok=True)
        (root / "splits" / "bertinetto" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            for image in range(3):
                write_image(root / "data" / name / f"{image}.png", NAMES.index(name), image, 32)
    return root


def test_classes_and_images(folder: Path) -> None:
    pool = cifar_fs(folder)
    assert pool.classes("train") == ("apple", "bee")
    assert (pool.classes("validation"), pool.classes("test")) == (("crab",), ("door_bell",))
    assert pool.examples.shape == (12, 3, 32, 32)
    for label in range(4):
        found = pool.examples[pool.table[label], :, 31, 0].tolist()
        assert found == [list(colour(label, image)) for image in range(3)]
    assert pool.protocol["split"] == "Bertinetto et al., 64 / 16 / 20 classes"


def test_another_size_is_another_pool(folder: Path) -> None:
    cifar_fs(folder)
    assert cifar_fs(folder, size=8).examples.shape == (12, 3, 8, 8)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "data" / "bee").rename(folder / "data" / "wasp")
    with pytest.raises(FileNotFoundError, match="no folder .*bee, which should hold the images of a class"):
        cifar_fs(folder)
    (folder / "splits" / "bertinetto" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*val\.txt. Expected: data/<class>/"):
        cifar_fs(folder)
    with pytest.raises(FileNotFoundError, match="cifar_fs cannot be downloaded, .*bertinetto/r2d2"):
        cifar_fs()


def test_wrong_classes_and_images_are_named(folder: Path) -> None:
    (folder / "data" / "apple" / "2.png").unlink()
    with pytest.raises(ValueError, match="cifar_fs: the class 'apple' has 2 images, not 3"):
        cifar_fs(folder)
    (folder / "splits" / "bertinetto" / "train.txt").write_text("apple\n")
    with pytest.raises(ValueError, match="cifar_fs: the train split has 1 classes, not 2"):
        cifar_fs(folder)
    (folder / "data" / "crab" / "0.png").write_bytes(b"\x89PNG")
    (folder / "splits" / "bertinetto" / "train.txt").write_text("apple\nbee\n")
    write_image(folder / "data" / "apple" / "2.png", 0, 2, 32)
    with pytest.raises(ValueError, match=r"crab/0\.png cannot be read as an image"):
        cifar_fs(folder)
