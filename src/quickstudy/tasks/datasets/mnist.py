"""MNIST: 70,000 handwritten digits, 28×28. Ten classes make few tasks: a set to try things on, not to publish on.

LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.tasks.datasets.storage import cache_folder, download, given_folder
from quickstudy.tasks.pool import ClassPool

__all__ = ["DIGITS", "mnist", "named"]

_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/{}"
_FILES = {  # name: (md5 at the publisher's, entries)
    "train-images-idx3-ubyte.gz": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 60_000),
    "train-labels-idx1-ubyte.gz": ("d53e105ee54ea40749a09fcbcd1e9432", 60_000),
    "t10k-images-idx3-ubyte.gz": ("9fb629c4189551a2d022fa330f9573f3", 10_000),
    "t10k-labels-idx1-ubyte.gz": ("ec29112dd5afa0611ce80d1b7f02629c", 10_000),
}
DIGITS = {"train": tuple("012345"), "validation": tuple("67"), "test": tuple("89")}
"""Which digits each split has unless told otherwise."""


def mnist(folder: Path | str | None = None, *, parts: Mapping[str, Sequence[str]] = DIGITS) -> ClassPool:
    """MNIST as a pool of ten classes, `[1, 28, 28]`, strokes 1 and ground 0; names are the digits.

    An example's group is 0 when it is of the publisher's training file and 1 when of the test file, whose writers are
    others.

    Args:
        folder: where the publisher's four files are; by default `mnist` below `QUICKSTUDY_DATA`, and what is not there
            is downloaded.
        parts: the digits of each split, as `part_classes` gives them; by default 0 … 5 to train on, 6 and 7 to choose
            by, 8 and 9 to be judged by (so two ways at most there).

    Raises:
        FileNotFoundError: `folder` lacks a file.
        ValueError: a file is damaged or holds another number of digits, or `parts` is none of digits.
        OSError: the data is neither given nor to be had by download.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for name, (_, entries) in _FILES.items():
        values = _idx(_path(name, folder))
        if len(values) != entries:
            raise ValueError(f"{name} has {len(values)} entries, not {entries}")
        (images if values.ndim == 3 else labels).append(values)
    groups = np.repeat(np.arange(2), [len(values) for values in labels])
    pictures = torch.from_numpy(np.concatenate(images))[:, None]
    names = [str(digit) for digit in range(10)]
    protocol = {"data": "mnist", "split": named(parts), "size": "28×28"}
    return ClassPool.from_labels(
        pictures, np.concatenate(labels).astype(np.int64), names, parts, groups.astype(np.int64), protocol
    )


def named(parts: Mapping[str, Sequence[str]]) -> str:
    """Which digits are in which split, for a protocol."""
    return ", ".join(f"{split} {' '.join(sorted(names))}" for split, names in parts.items())


def _path(name: str, folder: Path | str | None) -> Path:
    if folder is not None:
        path = Path(folder) / name
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}; MNIST is {', '.join(_FILES)}")
        return path
    given = given_folder("mnist")
    if given and (given / name).exists():
        return given / name
    return download(_ADDRESS.format(name), _FILES[name][0], cache_folder() / "downloads" / "mnist" / name)


def _idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes: two zeros, the type (8 for bytes), the number of axes, their lengths, then the values."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}; remove it to fetch it again") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">u4").tolist()) if len(content) >= 4 + 4 * axes else ()
    if axes not in (1, 3) or len(shape) != axes:
        raise ValueError(f"{path} is no idx file of images or labels")
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if len(values) != np.prod(shape):
        raise ValueError(f"{path} says it holds {'×'.join(map(str, shape))} bytes, but has {len(values)}")
    return values.reshape(shape)
