"""CIFAR-FS: the classes of CIFAR-100 parted at random for few-shot learning, 32×32.

Bertinetto et al., "Meta-learning with differentiable closed-form solvers", ICLR 2019.
"""

from pathlib import Path

from quickstudy.tasks.datasets.image_classes import (
    FILE_NAMES,
    ImageClass,
    class_folder,
    data_folder,
    image_files,
    image_pool,
)
from quickstudy.tasks.datasets.storage import fingerprint
from quickstudy.tasks.pool import ClassPool

__all__ = ["cifar_fs"]

_CLASSES = {"train": 64, "validation": 16, "test": 20}
_EACH = 600
_VERSION = 1
_EXPECTED = (
    "data/<class>/*.png and splits/bertinetto/train.txt, val.txt and test.txt with a class a line, as in the archive "
    "that the repository bertinetto/r2d2 links to"
)


def cifar_fs(folder: Path | str | None = None, *, size: int = 32) -> ClassPool:
    """CIFAR-FS as a pool of classes, 64 / 16 / 20 with 600 images each, `[3, size, size]`.

    Args:
        folder: where the archive was unpacked; by default `cifar_fs` below `QUICKSTUDY_DATA`.
        size: height and width in pixels; the originals have 32.

    Raises:
        FileNotFoundError: there is no such folder, or a file or the folder of a class is missing from it (named).
        ValueError: an image cannot be read, or the classes are not those of the split.
    """
    root = data_folder("cifar_fs", folder, _EXPECTED)
    tables = {split: root / "splits" / "bertinetto" / f"{name}.txt" for split, name in FILE_NAMES.items()}
    for path in tables.values():
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}. Expected: {_EXPECTED}")
    classes = [
        ImageClass(name, split, class_folder(root / "data" / name))
        for split, path in tables.items()
        for name in path.read_text(encoding="utf-8").split()
    ]
    key = fingerprint(root, [*tables.values(), *image_files(classes)])
    protocol = {"split": "Bertinetto et al., 64 / 16 / 20 classes"}
    return image_pool("cifar_fs", _VERSION, key, lambda: classes, size, protocol, expected=_CLASSES, each=_EACH)
