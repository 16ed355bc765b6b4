"""CUB-200-2011: 11,788 photographs of 200 kinds of birds.

Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", 2011. The split of classes is the rule of Chen et al., "A Closer
Look at Few-shot Classification", ICLR 2019.
"""

from pathlib import Path

from quickstudy.tasks.datasets.image_classes import Boxed, ImageClass, data_folder, image_pool
from quickstudy.tasks.datasets.storage import fingerprint
from quickstudy.tasks.pool import ClassPool

__all__ = ["cub"]

_CLASSES = {"train": 100, "validation": 50, "test": 50}
_IMAGES = 11_788
_VERSION = 1
_EXPECTED = (
    "images.txt, image_class_labels.txt, bounding_boxes.txt and images/<number>.<class>/*.jpg, as in CUB_200_2011.tgz "
    "from www.vision.caltech.edu/datasets/cub_200_2011"
)


def cub(folder: Path | str | None = None, *, size: int = 84, crop: bool = False) -> ClassPool:
    """CUB-200-2011 as a pool of classes, 100 / 50 / 50 with 41 to 60 images each, `[3, size, size]`.

    Of the classes, numbered from 0 in the order of their names, the even ones are for training; of the others, every
    second is for validation and for test.

    Args:
        folder: where the archive was unpacked; by default `cub` below `QUICKSTUDY_DATA`.
        size: height and width in pixels that the whole image is scaled to, by averaging areas.
        crop: cut each image to the bounding box of its bird first. Papers do either, and scores do not compare.

    Raises:
        FileNotFoundError: there is no such folder, or a file is missing from it (named).
        ValueError: a file is damaged, or the classes are not those of the split.
    """
    root = data_folder("cub", folder, _EXPECTED)
    # The archive holds a folder of its own.
    root = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
    paths = {number: root / "images" / name for number, (name,) in _table(root / "images.txt", 1).items()}
    labels = {number: int(label) for number, (label,) in _table(root / "image_class_labels.txt", 1).items()}
    texts = _table(root / "bounding_boxes.txt", 4) if crop else {}
    boxes = {number: _corners(*(float(text) for text in row)) for number, row in texts.items()}
    for name, numbers in [("image_class_labels.txt", labels.keys())] + [("bounding_boxes.txt", boxes.keys())] * crop:
        if numbers != paths.keys():
            odd = min(numbers ^ paths.keys(), key=int)
            raise ValueError(f"{root}: images.txt and {name} do not have the same images; one has no number {odd}")
    if len(paths) != _IMAGES:
        raise ValueError(f"{root / 'images.txt'} names {len(paths)} images, not {_IMAGES}")
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"images.txt names {len(missing)} files that are not there, the first is {missing[0]}")
    members: dict[int, list[str]] = {}
    for number in paths:
        members.setdefault(labels[number], []).append(number)
    classes = [
        ImageClass(
            paths[numbers[0]].parent.name,
            _split(label - 1),
            [Boxed(paths[number], boxes[number]) if crop else paths[number] for number in numbers],
        )
        for label, numbers in sorted(members.items())
    ]
    tables = [root / name for name in ("image_class_labels.txt", "bounding_boxes.txt") if (root / name).exists()]
    key = f"{'crop' if crop else 'whole'}-{fingerprint(root, [*tables, *paths.values()])}"
    protocol = {
        "split": "Chen et al., 100 / 50 / 50 classes by number",
        "crop": "bounding box" if crop else "none",
    }
    return image_pool("cub", _VERSION, key, lambda: classes, size, protocol, expected=_CLASSES)


def _split(index: int) -> str:
    return "train" if index % 2 == 0 else "validation" if index % 4 == 1 else "test"


def _corners(left: float, upper: float, width: float, height: float) -> tuple[float, float, float, float]:
    return left, upper, left + width, upper + height


def _table(path: Path, columns: int) -> dict[str, list[str]]:
    """The lines of a file, `number value …`, by their number."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}. Expected: {_EXPECTED}")
    rows = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        number, *values = text.split()
        if len(values) != columns or not number.isdigit():
            raise ValueError(f"{path}, line {line}: expected a number and {columns} values, got {text!r}")
        rows[number] = values
    return rows
