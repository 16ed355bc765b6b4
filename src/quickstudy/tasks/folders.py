"""Tasks from a folder of images, one folder a class: `root/class/*.png` or `*.jpg`."""

import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quickstudy.arguments import check_whole
from quickstudy.tasks.pool import ClassPool, part_classes

__all__ = ["SUFFIXES", "from_folder", "pixels", "read_image"]

SUFFIXES = (".png", ".jpg", ".jpeg")


def from_folder(
    root: Path | str,
    *,
    size: int = 84,
    colour: Literal["RGB", "L"] = "RGB",
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> ClassPool:
    """The images below `root`, one class per folder; classes are parted at random into train, validation and test.

    Transparent images are laid on white, 16-bit ones reduced to 8, and photographs turned as their camera was held.

    Args:
        root: a folder of folders of images.
        size: images are scaled to this height and width (area averaging), in pixels.
        colour: `RGB` or `L` (grey).
        validation, test: shares of the classes that are held out.
        seed: draws which classes are held out.

    Returns:
        A pool; `.episodes(ways, shots, queries)` makes tasks of it.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it has no folders with images, too few classes, or an image that cannot be read (named).
    """
    if not isinstance(root, str | Path):
        raise TypeError(f"root must be the path of a folder, got {root!r}")
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {root}")
    if colour not in ("RGB", "L"):
        raise ValueError(f"colour must be 'RGB' or 'L', got {colour!r}")
    check_whole(size=size)
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    files = {
        folder.name: sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }
    names = [name for name, paths in files.items() if paths]
    if not names:
        raise ValueError(f"{root} has no folders with {', '.join(SUFFIXES)} files; expected root/class/image.png")
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        warnings.warn(f"folders without {', '.join(SUFFIXES)} files, left out: {', '.join(empty)}", stacklevel=2)
    images = [read_image(path, size, colour) for name in names for path in files[name]]
    labels = np.repeat(np.arange(len(names)), [len(files[name]) for name in names])
    protocol = {"data": f"folder {root.name}", "resize": f"area to {size}×{size}", "split_seed": seed}
    parts = part_classes(names, (validation, test), seed)
    return ClassPool.from_labels(torch.from_numpy(np.stack(images)), labels, names, parts, protocol=protocol)


def read_image(
    source: Path | io.BytesIO,
    size: int,
    colour: Literal["RGB", "L"] = "RGB",
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """One image as `[channel, size, size]` uint8.

    Args:
        source: a file, by its path or open.
        size: height and width that it is scaled to (area averaging), in pixels.
        colour: `RGB` or `L` (grey).
        box: left, upper, right and lower edge of the part to keep, in pixels of the file's image; all by default.

    Raises:
        ValueError: it cannot be read as an image (the message names the path).
    """
    try:
        with Image.open(source) as image:
            upright = _eight_bits(ImageOps.exif_transpose(image))
            return pixels(upright.convert(colour).crop(box) if box else upright.convert(colour), size)
    except (UnidentifiedImageError, OSError) as error:
        name = source if isinstance(source, Path) else "an encoded image"
        raise ValueError(f"{name} cannot be read as an image: {error}") from error


def pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """An image as `[channel, size, size]` uint8, scaled by averaging areas."""
    values = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image as eyes see it: Pillow would cut 16 bits off at 255, and show what transparency hides."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image
