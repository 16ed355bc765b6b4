"""On small files of the same form."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quickstudy.tasks import cub
from quickstudy.tasks.datasets import cub as module

BIRDS = ["Albatross", "Auklet", "Blackbird", "Bunting", "Cardinal", "Catbird", "Chat", "Crow"]
EACH = 2


def write_bird(path: Path, label: int, image: int) -> None:
    """A bird of 4×6 pixels at (3, 2) on a white ground of 20×10."""
    pixels = np.full((10, 20, 3), 255, dtype=np.uint8)
    pixels[2:8, 3:7] = label, image, 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_CLASSES", {"train": 4, "validation": 2, "test": 2})
    monkeypatch.setattr(module, "_IMAGES", 8 * EACH)
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    root = tmp_path / "cub" / "CUB_200_2011"
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "bounding_boxes": []}
    for label, bird in enumerate(BIRDS):
        for image in range(EACH):
            name = f"{label + 1:03d}.{bird}/{bird}_{image}.jpg"
            write_bird(root / "images" / name, label, image)
            number = len(lines["images"]) + 1
            lines["images"].append(f"{number} {name}")
            lines["image_class_labels"].append(f"{number} {label + 1}")
            lines["bounding_boxes"].append(f"{number} 3.0 2.0 4.0 6.0")
    for name, rows in lines.items():
        (root / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "cub"


def test_the_rule_of_the_split(folder: Path) -> None:
    pool = cub(folder, size=10)
    assert pool.classes("train") == ("001.Albatross", "003.Blackbird", "005.Cardinal", "007.Chat")
    assert pool.classes("validation") == ("002.Auklet", "006.Catbird")
    assert pool.classes("test") == ("004.Bunting", "008.Crow")
    assert pool.examples.shape == (16, 3, 10, 10)
    assert pool.protocol["crop"] == "none"
    # Twenty pixels of width become ten: the bird fills columns 2 and half of 1 and 3.
    assert pool.examples[pool.table[3, 1], :, 5, 2].tolist() == [3, 1, 200]
    assert (pool.examples[:, :, 0] == 255).all()


def test_birds_alone(folder: Path) -> None:
    pool = cub(folder / "CUB_200_2011", size=8, crop=True)
    for label in range(8):
        for image, row in enumerate(pool.table[label]):
            assert pool.examples[row].flatten(1).unique(dim=1).squeeze(1).tolist() == [label, image, 200]
    assert pool.protocol["crop"] == "bounding box"


def test_a_changed_box_is_seen(folder: Path) -> None:
    cub(folder, size=8, crop=True)
    path = folder / "CUB_200_2011" / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("1 3.0 2.0", "1 9.0 2.0", 1))
    assert (cub(folder, size=8, crop=True).examples[0] == 255).all()


def test_the_whole_rule_gives_the_usual_split() -> None:
    splits = [module._split(index) for index in range(200)]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [100, 50, 50]
    assert splits[:5] == ["train", "validation", "train", "test", "train"]


def test_what_is_missing_is_named(folder: Path) -> None:
    root = folder / "CUB_200_2011"
    (root / "bounding_boxes.txt").rename(root / "boxes.txt")
    assert cub(folder, size=4).examples.shape[-1] == 4  # boxes are needed for cropping alone
    with pytest.raises(FileNotFoundError, match=r"there is no .*bounding_boxes\.txt\. Expected: images\.txt"):
        cub(folder, crop=True)
    (root / "images" / "001.Albatross" / "Albatross_0.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 files that are not there, .*Albatross_0\.jpg"):
        cub(folder)
    with pytest.raises(FileNotFoundError, match=r"cub cannot be downloaded, .*www\.vision\.caltech\.edu"):
        cub()


def test_wrong_tables_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "CUB_200_2011" / "image_class_labels.txt"
    text = path.read_text()
    path.write_text(text.replace("16 8\n", ""))
    with pytest.raises(ValueError, match=r"image_class_labels\.txt do not have the same images; one has no number 16"):
        cub(folder)
    path.write_text(text.replace("16 8\n", "16\n"))
    with pytest.raises(ValueError, match=r"image_class_labels\.txt, line 16: expected a number and 1 values, got '16'"):
        cub(folder)
    path.write_text(text.replace("15 8", "15 7").replace("16 8", "16 7"))
    with pytest.raises(ValueError, match="cub: the test split has 1 classes, not 2"):
        cub(folder)
    path.write_text(text)
    monkeypatch.setattr(module, "_IMAGES", 11_788)
    with pytest.raises(ValueError, match=r"images\.txt names 16 images, not 11788"):
        cub(folder)
