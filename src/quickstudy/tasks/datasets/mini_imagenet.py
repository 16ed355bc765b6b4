"""mini-ImageNet: 100 classes of ImageNet, 600 images each, 84×84.

Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016; the split of classes is that of Ravi &
Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from quickstudy.tasks.datasets.image_classes import FILE_NAMES, ImageClass, data_folder, image_files, image_pool
from quickstudy.tasks.datasets.pickles import read_pickle
from quickstudy.tasks.datasets.storage import fingerprint
from quickstudy.tasks.pool import ClassPool

__all__ = ["mini_imagenet"]

_CLASSES = {"train": 64, "validation": 16, "test": 20}
_EACH = 600
_VERSION = 1
_PICKLE = "mini-imagenet-cache-{}.pkl"
_EXPECTED = (
    "either train.csv, val.csv and test.csv (columns filename and label) with the files they name in images/, or "
    "mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl. The csv files are in the repository "
    "twitter-research/meta-learning-lstm, the "
    "images in ImageNet (ILSVRC 2012), which image-net.org gives to holders of an account"
)


def mini_imagenet(folder: Path | str | None = None, *, size: int = 84) -> ClassPool:
    """mini-ImageNet as a pool of classes, 64 / 16 / 20, `[3, size, size]`; names are WordNet numbers.

    It is read from files that you have: ImageNet's licence lets nobody pass them on. Both forms in which they are
    around are read, the pickles without running anything they contain (see `quickstudy.tasks.datasets.pickles`).
    The 60,000 images take 1.27 GB at 84 pixels; they are packed once, and paged in as they are used.

    Args:
        folder: where the files are; by default `mini_imagenet` below `QUICKSTUDY_DATA`.
        size: height and width in pixels; images of another size are scaled by averaging areas.

    Raises:
        FileNotFoundError: there is no such folder, or a file is missing from it (named).
        ValueError: a file is damaged, or the classes are not those of the split.
    """
    root = data_folder("mini_imagenet", folder, _EXPECTED)
    tables = {split: root / f"{name}.csv" for split, name in FILE_NAMES.items()}
    pickles = {split: root / _PICKLE.format(name) for split, name in FILE_NAMES.items()}
    find: Callable[[], Sequence[ImageClass]]
    if any(path.exists() for path in tables.values()):
        classes = [one for split, path in tables.items() for one in _from_table(split, path, root / "images")]
        files = [*tables.values(), *image_files(classes)]
        form, find = "images", lambda: classes
    elif any(path.exists() for path in pickles.values()):
        files, form, find = list(pickles.values()), "pickles", partial(_from_pickles, pickles)
    else:
        raise FileNotFoundError(f"{root} holds no form of mini-ImageNet. Expected: {_EXPECTED}")
    key = f"{form}-{fingerprint(root, files)}"
    protocol = {"split": "Ravi & Larochelle, 64 / 16 / 20 classes", "form": form}
    return image_pool("mini_imagenet", _VERSION, key, find, size, protocol, expected=_CLASSES, each=_EACH)


def _from_table(split: str, path: Path, images: Path) -> list[ImageClass]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} must have the columns filename and label, got {', '.join(rows.fieldnames or ())}")
        files: dict[str, list[Path]] = {}
        for row in rows:
            files.setdefault(row["label"], []).append(images / row["filename"])
    present = {one.name for one in images.iterdir()} if images.is_dir() else set()
    missing = [one for paths in files.values() for one in paths if one.name not in present]
    if missing:
        raise FileNotFoundError(f"{path} names {len(missing)} files that are not there, the first is {missing[0]}")
    return [ImageClass(label, split, paths) for label, paths in files.items()]


def _from_pickles(paths: Mapping[str, Path]) -> list[ImageClass]:
    return [one for split, path in paths.items() for one in _from_pickle(split, path)]


def _from_pickle(split: str, path: Path) -> list[ImageClass]:
    content = read_pickle(path)
    if not isinstance(content, dict) or not {"image_data", "class_dict"} <= set(content):
        raise ValueError(f"{path} must hold a dict of image_data and class_dict")
    images, rows = content["image_data"], content["class_dict"]
    if getattr(images, "ndim", 0) != 4 or images.shape[-1] != 3 or images.dtype != "uint8":
        raise ValueError(f"{path}: image_data must be a uint8 array [image, height, width, 3]")
    for label, numbers in rows.items():
        if not all(0 <= number < len(images) for number in numbers):
            raise ValueError(f"{path}: the class {label!r} has images that are not among the {len(images)}")
    return [ImageClass(str(label), split, [images[number] for number in numbers]) for label, numbers in rows.items()]
