"""What the loaders of photographs share: classes found in files of whatever form, packed once, made a pool."""

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from quickstudy.progress import bar
from quickstudy.tasks.datasets.storage import given_folder, packed, scratch
from quickstudy.tasks.folders import SUFFIXES, pixels, read_image
from quickstudy.tasks.pool import ClassPool
from quickstudy.tasks.source import SPLITS

__all__ = ["FILE_NAMES", "Boxed", "ImageClass", "class_folder", "data_folder", "image_files", "image_pool"]

FILE_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""How publishers call the splits in names of files and folders."""


@dataclass(frozen=True)
class Boxed:
    """A part of an image: its file, and left, upper, right and lower edge in pixels."""

    path: Path
    box: tuple[float, float, float, float]


Source: TypeAlias = Path | Boxed | NDArray[np.uint8]
"""A file or a part of it, an array `[height, width, 3]`, or an encoded file as an array of bytes."""


@dataclass(frozen=True)
class ImageClass:
    """One class: its name, its split and its images."""

    name: str
    split: str
    images: Sequence[Source]


def data_folder(name: str, folder: Path | str | None, expected: str) -> Path:
    """The folder that a data set without an address is read from: `folder`, or `name` below `QUICKSTUDY_DATA`.

    Args:
        name: of the data set.
        folder: as the user gave it.
        expected: which files it must hold, and where people get them.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    found = given_folder(name) if folder is None else Path(folder)
    if found is None or not found.is_dir():
        place = f"there is no folder {str(folder)!r}" if found else "neither folder nor QUICKSTUDY_DATA names a folder"
        raise FileNotFoundError(f"{name} cannot be downloaded, and {place}. Expected: {expected}")
    return found


def class_folder(folder: Path) -> list[Path]:
    """The images of one class in the order of their names.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no images.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}, which should hold the images of a class")
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise ValueError(f"{folder} has no {', '.join(SUFFIXES)} files")
    return images


def image_files(classes: Sequence[ImageClass]) -> list[Path]:
    """The files that the images of some classes are in."""
    sources = [source.path if isinstance(source, Boxed) else source for one in classes for source in one.images]
    return [source for source in sources if isinstance(source, Path)]


def image_pool(
    name: str,
    version: int,
    key: str,
    classes: Callable[[], Sequence[ImageClass]],
    size: int,
    protocol: dict[str, Any],
    *,
    expected: Mapping[str, int],
    each: int | None = None,
) -> ClassPool:
    """The classes as a pool of `[3, size, size]` uint8 images, from the cache when they were packed before.

    Args:
        name: of the data set.
        version: as in `packed`.
        key: what the contents depend on beside the size: the form and a fingerprint of the files.
        classes: finds the classes; not asked when they are packed already.
        size: height and width in pixels; images of another size are scaled by averaging areas.
        protocol: as in `ClassPool`; the size is added.
        expected: how many classes each split must have.
        each: how many images every class must have; any number from one up by default.

    Raises:
        ValueError: the size is below one, the classes or images are not those expected, or an image cannot be read.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")

    def build() -> tuple[dict[str, Tensor], dict[str, str]]:
        found = classes()
        _check(name, found, expected, each)
        return _packed(name, found, size)

    tensors, texts = packed(f"{name}-{size}-{key}", version, build)
    names, splits = json.loads(texts["names"]), json.loads(texts["splits"])
    parts = {split: [n for n, s in zip(names, splits, strict=True) if s == split] for split in SPLITS}
    protocol = {"data": name, **protocol, "resize": f"area to {size}×{size}"}
    return ClassPool.from_labels(tensors["images"], tensors["labels"].numpy(), names, parts, protocol=protocol)


def _check(name: str, classes: Sequence[ImageClass], expected: Mapping[str, int], each: int | None) -> None:
    counts = Counter(one.split for one in classes)
    for split, number in expected.items():
        if counts[split] != number:
            raise ValueError(f"{name}: the {split} split has {counts[split]} classes, not {number}")
    twice = [one for one, times in Counter(one.name for one in classes).items() if times > 1]
    if twice:
        raise ValueError(f"{name}: the class {twice[0]!r} stands twice; splits must be disjoint")
    for one in classes:
        if each is not None and len(one.images) != each:
            raise ValueError(f"{name}: the class {one.name!r} has {len(one.images)} images, not {each}")
        if not len(one.images):
            raise ValueError(f"{name}: the class {one.name!r} has no images")


def _packed(name: str, classes: Sequence[ImageClass], size: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    sizes = [len(one.images) for one in classes]
    images, first = scratch((sum(sizes), 3, size, size)), 0
    # Pillow decodes and scales without holding the interpreter's lock.
    with bar(f"packing {name}", len(images)) as progress, ThreadPoolExecutor() as threads:
        for one in classes:
            for image in threads.map(partial(_pixels, size=size), one.images):
                images[first] = torch.from_numpy(image.copy())
                first += 1
            progress.advance(len(one.images))
    labels = torch.from_numpy(np.repeat(np.arange(len(classes)), sizes))
    texts = {"names": [one.name for one in classes], "splits": [one.split for one in classes]}
    return {"images": images, "labels": labels}, {key: json.dumps(value) for key, value in texts.items()}


def _pixels(source: Source, size: int) -> NDArray[np.uint8]:
    if isinstance(source, Path):
        return read_image(source, size)
    if isinstance(source, Boxed):
        return read_image(source.path, size, box=source.box)
    if source.ndim < 3:  # [bytes], or [bytes, 1] as older OpenCV wrote it
        return read_image(io.BytesIO(source.tobytes()), size)
    return pixels(Image.fromarray(source), size)
