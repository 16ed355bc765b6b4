"""FC100: CIFAR-100 parted by its superclasses, so that train and test are further apart than in CIFAR-FS.

Oreshkin et al., "TADAM: Task dependent adaptive metric for improved few-shot learning", NeurIPS 2018. CIFAR-100:
Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.tasks.datasets.image_classes import ImageClass, image_pool
from quickstudy.tasks.datasets.pickles import read_pickle
from quickstudy.tasks.datasets.storage import cache_folder, download, fingerprint, given_folder
from quickstudy.tasks.pool import ClassPool

__all__ = ["fc100"]

_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"
_ARCHIVE = "cifar-100-python.tar.gz"
_FOLDER = "cifar-100-python"
_PARTS = ("train", "test", "meta")
_CLASSES = {"train": 60, "validation": 20, "test": 20}
_EACH = 600
_VERSION = 1
# All superclasses that stand in neither line are for training.
_HELD_OUT = {
    "validation": ("large_carnivores", "large_omnivores_and_herbivores", "non-insect_invertebrates", "small_mammals"),
    "test": ("aquatic_mammals", "insects", "medium_mammals", "people"),
}


def fc100(folder: Path | str | None = None, *, size: int = 32) -> ClassPool:
    """FC100 as a pool of classes, 60 / 20 / 20 of 12 / 4 / 4 superclasses, 600 images each, `[3, size, size]`.

    Names are `superclass/class`. The publisher's files are unpickled without running anything they contain.

    Args:
        folder: where `cifar-100-python.tar.gz` is, or the files `train`, `test` and `meta` that it contains; by default
            `cifar100` below `QUICKSTUDY_DATA`, and without that it is downloaded.
        size: height and width in pixels; the originals have 32.

    Raises:
        FileNotFoundError: `folder` holds neither.
        ValueError: a file is damaged, or the classes are not those of CIFAR-100.
        OSError: the data is neither given nor to be had by download.
    """
    root = _root(folder)
    files = [root] if root.is_file() else [root / part for part in _PARTS]
    key = fingerprint(root.parent, files)
    protocol = {"split": "Oreshkin et al., 60 / 20 / 20 classes by superclass"}
    return image_pool("fc100", _VERSION, key, lambda: _classes(root), size, protocol, expected=_CLASSES, each=_EACH)


def _root(folder: Path | str | None) -> Path:
    """The publisher's archive, or the folder of the files in it."""
    given = given_folder("cifar100") if folder is None else Path(folder)
    if given is None:
        return download(_ADDRESS, _MD5, cache_folder() / "downloads" / "cifar100" / _ARCHIVE)
    for place in (given, given / _FOLDER):
        if any((place / part).is_file() for part in _PARTS):
            missing = [part for part in _PARTS if not (place / part).is_file()]
            if missing:
                raise FileNotFoundError(f"{place} has no file {missing[0]!r}; CIFAR-100 is {', '.join(_PARTS)}")
            return place
    if (given / _ARCHIVE).is_file():
        return given / _ARCHIVE
    raise FileNotFoundError(f"{given} holds neither {_ARCHIVE} nor its files {', '.join(_PARTS)}; it is at {_ADDRESS}")


def _read(root: Path) -> dict[str, Any]:
    if root.is_dir():
        return {part: read_pickle(root / part) for part in _PARTS}
    try:
        with tarfile.open(root) as archive:
            content = {}
            for part in _PARTS:
                member = archive.extractfile(f"{_FOLDER}/{part}")  # read in place: nothing is written to disk
                if not isinstance(member, io.BufferedReader):
                    raise ValueError(f"{root}: {_FOLDER}/{part} is no file")
                content[part] = read_pickle(member, f"{_FOLDER}/{part} in {root}")
            return content
    except KeyError as error:
        raise ValueError(f"{root} is not the archive of CIFAR-100: {error.args[0]}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{root} is damaged: {error}; remove it to fetch it again") from error


def _classes(root: Path) -> list[ImageClass]:
    content = _read(root)
    wanted = dict.fromkeys(("train", "test"), ("data", "fine_labels", "coarse_labels"))
    for part, keys in {**wanted, "meta": ("fine_label_names", "coarse_label_names")}.items():
        lacking = [key for key in keys if key not in content[part]]
        if lacking:
            raise ValueError(f"the file {part!r} of CIFAR-100 in {root} has no {lacking[0]}")
    for part in wanted:
        data, count = content[part]["data"], len(content[part]["fine_labels"])
        if getattr(data, "dtype", None) != np.uint8 or data.shape != (count, 3 * 32 * 32):
            raise ValueError(f"data of {part!r} in {root} must be uint8 [{count}, 3072], got {np.shape(data)}")
    images, fine, coarse = (
        np.concatenate([np.asarray(content[part][key], dtype=kind) for part in wanted])
        for key, kind in (("data", np.uint8), ("fine_labels", np.int64), ("coarse_labels", np.int64))
    )
    images = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    fine_names, coarse_names = content["meta"]["fine_label_names"], content["meta"]["coarse_label_names"]
    owner = {name: split for split, names in _HELD_OUT.items() for name in names}
    unknown = set(owner) - set(coarse_names)
    if unknown:
        raise ValueError(f"CIFAR-100 in {root} has no superclass {min(unknown)!r}")
    found = []
    for number, name in enumerate(fine_names):
        rows = np.flatnonzero(fine == number)
        superclasses = {coarse_names[index] for index in np.unique(coarse[rows])}
        if len(superclasses) != 1:
            raise ValueError(f"CIFAR-100 in {root}: the class {name!r} has {len(superclasses)} superclasses, not 1")
        superclass = superclasses.pop()
        found.append(ImageClass(f"{superclass}/{name}", owner.get(superclass, "train"), list(images[rows])))
    return found
