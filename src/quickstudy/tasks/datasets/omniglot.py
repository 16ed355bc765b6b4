"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015.
The split of characters is that of Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, as published
with prototypical networks (Snell et al., 2017).
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from quickstudy.progress import bar
from quickstudy.tasks.datasets.storage import cache_folder, download, given_folder, packed
from quickstudy.tasks.pool import ClassPool
from quickstudy.tasks.source import SPLITS

__all__ = ["omniglot"]

_ZIPS = {  # name: (md5 at the publisher's, characters)
    "images_background": ("68d2efa1b9178cc56df9314c21c6e718", 964),
    "images_evaluation": ("6b91aef0f799c5bb55b94e3f2daec811", 659),
}
_ZIP_ADDRESS = "https://github.com/brendenlake/omniglot/raw/master/python/{}.zip"
_SPLIT_FILES = {  # split: (name at the publisher's, md5, classes)
    "train": ("train", "433d1fcc2b20dcee2983ceb524586f7f", 4112),
    "validation": ("val", "78c535fa427b12b6596908376a0b3f34", 688),
    "test": ("test", "43534e6d5f9e74acbb7de1b4874abad8", 1692),
}
_SPLIT_ADDRESS = (
    "https://raw.githubusercontent.com/jakesnell/prototypical-networks/master/data/omniglot/splits/vinyals/{}.txt"
)
_DRAWINGS = 20
_VERSION = 1
# Five of the thirty background alphabets, 132 characters: alphabets that no training task shows, to choose by.
_VALIDATION_ALPHABETS = ("Balinese", "Early_Aramaic", "Futurama", "Grantha", "Tagalog")

Resize = Literal["nearest", "area"]


def omniglot(
    split: Literal["vinyals", "background"] = "vinyals", *, size: int = 28, resize: Resize = "nearest"
) -> ClassPool:
    """Omniglot as a pool of classes; strokes are 1 and paper is 0. An example's group is the person who drew it.

    Args:
        split: `vinyals`: 1028 / 172 / 423 characters, each in four rotations as four classes (4112 / 688 / 1692), the
            protocol of most papers, in which train and test share an alphabet. `background`: the alphabets of the
            evaluation set are never seen in training, and there are no rotations; five of the thirty background
            alphabets serve for validation.
        size: height and width in pixels; the originals have 105.
        resize: `nearest` picks pixels, as the papers' code did; `area` averages, which is 4 to 7 points easier for a
            nearest neighbour.

    Raises:
        ValueError: an unknown split or resize, or files that do not hold the characters that they should.
        OSError: the data is neither in `QUICKSTUDY_DATA` nor to be had by download.
    """
    if split not in ("vinyals", "background"):
        raise ValueError(f"split must be 'vinyals' or 'background', got {split!r}")
    if resize not in ("nearest", "area"):
        raise ValueError(f"resize must be 'nearest' or 'area', got {resize!r}")
    if not 1 <= size <= 105:
        raise ValueError(f"size must lie in 1 … 105 pixels, got {size}")
    tensors, texts = packed(f"omniglot-{size}-{resize}", _VERSION, lambda: _pack(size, resize))
    images, names = tensors["images"], json.loads(texts["names"])  # [character · drawing, 1, size, size]
    protocol = {"data": "omniglot", "split": split, "resize": f"{resize} to {size}×{size}"}
    labels, drawers = np.repeat(np.arange(len(names)), _DRAWINGS), np.tile(np.arange(_DRAWINGS), len(names))
    if split == "background":
        background = names[: _ZIPS["images_background"][1]]
        held = [name for name in background if name.split("/")[0] in _VALIDATION_ALPHABETS]
        parts = {
            "train": [name for name in background if name not in set(held)],
            "validation": held,
            "test": names[len(background) :],
        }
        return ClassPool.from_labels(images, labels, names, parts, drawers, {**protocol, "rotations": "none"})
    turned = [torch.rot90(images, quarter, (-2, -1)) for quarter in range(4)]
    all_names = [f"{name}/rot{90 * quarter:03d}" for quarter in range(4) for name in names]
    all_labels = np.concatenate([labels + quarter * len(names) for quarter in range(4)])
    parts = {name: _split_classes(name) for name in SPLITS}
    protocol["rotations"] = "as classes"
    return ClassPool.from_labels(torch.cat(turned), all_labels, all_names, parts, np.tile(drawers, 4), protocol)


def _pack(size: int, resize: Resize) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All drawings in the order of their names, and the characters' names."""
    images: list[np.ndarray] = []
    names: list[str] = []
    zips = {archive: _zip_path(archive) for archive in _ZIPS}  # first, since a download has a bar of its own
    with bar("packing Omniglot", sum(characters for _, characters in _ZIPS.values())) as progress:
        for archive, (_, expected) in _ZIPS.items():
            found = 0
            for name, drawings in _characters(zips[archive]):
                if len(drawings) != _DRAWINGS:
                    raise ValueError(f"{archive}: the character {name} has {len(drawings)} drawings, not {_DRAWINGS}")
                names.append(name)
                images.extend(_shrunk(drawing, size, resize) for drawing in drawings)
                found += 1
                progress.advance()
            if found != expected:
                raise ValueError(f"{archive} has {found} characters, not {expected}")
    return {"images": torch.from_numpy(np.stack(images))[:, None]}, {"names": json.dumps(names)}


def _characters(path: Path) -> Iterator[tuple[str, list[Image.Image]]]:
    """`alphabet/character` and its drawings, by drawer, in the order of names."""
    try:
        with zipfile.ZipFile(path) as archive:
            files: dict[str, list[str]] = {}
            for file in sorted(archive.namelist()):
                # root/alphabet/character/drawing; some archivers add folders of their own
                place = file.split("/")
                if file.endswith(".png") and len(place) == 4:
                    files.setdefault(f"{place[1]}/{place[2]}", []).append(file)
            for name, members in files.items():
                yield name, [Image.open(io.BytesIO(archive.read(member))) for member in members]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is damaged, or no zip file: {error}; remove it to fetch it again") from error


def _shrunk(drawing: Image.Image, size: int, resize: Resize) -> np.ndarray:
    """`[size, size]` uint8, strokes 255. (Pillow resizes black-and-white images by picking pixels.)"""
    if resize == "nearest":
        small = drawing.convert("1").resize((size, size), Image.Resampling.NEAREST).convert("L")
    else:
        small = drawing.convert("L").resize((size, size), Image.Resampling.BOX)
    return 255 - np.asarray(small)


def _zip_path(archive: str) -> Path:
    folder = given_folder("omniglot")
    if folder and (folder / f"{archive}.zip").exists():
        return folder / f"{archive}.zip"  # repacked zips are welcome: what they hold is counted above
    path = cache_folder() / "downloads" / "omniglot" / f"{archive}.zip"
    return download(_ZIP_ADDRESS.format(archive), _ZIPS[archive][0], path)


def _split_classes(split: str) -> list[str]:
    published, md5, expected = _SPLIT_FILES[split]
    folder = given_folder("omniglot")
    path = folder / f"vinyals_{published}.txt" if folder else None
    if path is None or not path.exists():
        path = cache_folder() / "downloads" / "omniglot" / f"vinyals_{published}.txt"
        download(_SPLIT_ADDRESS.format(published), md5, path)
    classes = path.read_text().split()
    if len(classes) != expected:
        raise ValueError(f"{path} names {len(classes)} classes, not {expected}")
    return classes
