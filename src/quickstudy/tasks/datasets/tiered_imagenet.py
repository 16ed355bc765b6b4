"""tiered-ImageNet: 608 classes of ImageNet, parted so that train and test share no higher category.

Ren et al., "Meta-Learning for Semi-Supervised Few-Shot Classification", ICLR 2018.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from quickstudy.tasks.datasets.image_classes import (
    FILE_NAMES,
    ImageClass,
    class_folder,
    data_folder,
    image_files,
    image_pool,
)
from quickstudy.tasks.datasets.pickles import read_pickle
from quickstudy.tasks.datasets.storage import fingerprint
from quickstudy.tasks.pool import ClassPool

__all__ = ["tiered_imagenet"]

_CLASSES = {"train": 351, "validation": 97, "test": 160}
_VERSION = 1
_EXPECTED = (
    "either train_images_png.pkl and train_labels.pkl, likewise val and test, as linked from the repository "
    "renmengye/few-shot-ssl-public, or the folders train, val and test with a folder of images for each class"
)


def tiered_imagenet(folder: Path | str | None = None, *, size: int = 84) -> ClassPool:
    """tiered-ImageNet as a pool of classes, 351 / 97 / 160, `[3, size, size]`.

    It is read from files that you have, in the form in which they were published or with a folder a class. The 779,165
    images take 16.5 GB at 84 pixels, on disk; they are packed once, which takes as much again for the while, and paged
    into memory as they are used. To be packed, the published pickles must fit into memory (about 12 GB); a folder a
    class takes none.

    Args:
        folder: where the files are; by default `tiered_imagenet` below `QUICKSTUDY_DATA`.
        size: height and width in pixels; images of another size are scaled by averaging areas.

    Raises:
        FileNotFoundError: there is no such folder, or a file is missing from it (named).
        ValueError: a file is damaged, or the classes are not those of the split.
    """
    root = data_folder("tiered_imagenet", folder, _EXPECTED)
    find: Callable[[], Sequence[ImageClass]]
    if any((root / f"{name}_images_png.pkl").exists() for name in FILE_NAMES.values()):
        files = [root / f"{name}_{part}.pkl" for name in FILE_NAMES.values() for part in ("images_png", "labels")]
        form, find = "pickles", partial(_from_pickles, root)
    elif any((root / name).is_dir() for name in FILE_NAMES.values()):
        classes = [one for split, name in FILE_NAMES.items() for one in _from_folders(split, root / name)]
        files, form, find = image_files(classes), "images", lambda: classes
    else:
        raise FileNotFoundError(f"{root} holds no form of tiered-ImageNet. Expected: {_EXPECTED}")
    key = f"{form}-{fingerprint(root, files)}"
    protocol = {"split": "Ren et al., 351 / 97 / 160 classes by higher category", "form": form}
    return image_pool("tiered_imagenet", _VERSION, key, find, size, protocol, expected=_CLASSES)


def _from_folders(split: str, folder: Path) -> list[ImageClass]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}, which should hold the classes of the {split} split")
    return [ImageClass(one.name, split, class_folder(one)) for one in sorted(folder.iterdir()) if one.is_dir()]


def _from_pickles(root: Path) -> list[ImageClass]:
    return [one for split, name in FILE_NAMES.items() for one in _from_pickle(split, root, name)]


def _from_pickle(split: str, root: Path, name: str) -> list[ImageClass]:
    """The images are PNG files, the labels a number each; the numbers' meanings are texts."""
    images, content = read_pickle(root / f"{name}_images_png.pkl"), read_pickle(root / f"{name}_labels.pkl")
    path = root / f"{name}_labels.pkl"
    if not isinstance(content, dict) or "label_specific" not in content:
        raise ValueError(f"{path} must hold a dict with label_specific")
    labels = np.asarray(content["label_specific"], dtype=np.int64)
    if len(labels) != len(images):
        raise ValueError(f"{path} has {len(labels)} labels for {len(images)} images")
    texts = content.get("label_specific_str")
    if texts is not None and not 0 <= labels.min(initial=0) <= labels.max(initial=0) < len(texts):
        raise ValueError(f"{path}: labels must lie in 0 … {len(texts) - 1}")
    members: dict[int, list[np.ndarray]] = {}
    for image, label in zip(images, labels.tolist(), strict=True):
        members.setdefault(label, []).append(image)
    # Two classes of ImageNet may share a text (there are two cranes), so the number belongs to the name.
    return [
        ImageClass(f"{name}{label:03d} {texts[label] if texts is not None else ''}".strip(), split, members[label])
        for label in sorted(members)
    ]
