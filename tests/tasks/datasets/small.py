"""Small files in the forms that publishers use, for the tests of the loaders."""

import io
import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image


def colour(label: int, image: int) -> tuple[int, int, int]:
    """The one colour of an image: its class, its number, and 200; so order and channels can be told."""
    return label, image, 200


def painted(label: int, image: int, size: int) -> np.ndarray:
    return np.full((size, size, 3), colour(label, image), dtype=np.uint8)


def write_image(path: Path, label: int, image: int, size: int = 6) -> None:
    """Losslessly, whatever the suffix says: Pillow looks at what a file holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(painted(label, image, size)).save(path, "PNG")


def png(label: int, image: int, size: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(painted(label, image, size)).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


class _Python2Pickler(pickle._Pickler):
    """Writes as Python 2 with numpy 1 did: texts and bytes are one type, and modules have other names."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes | str) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2(value: object) -> bytes:
    buffer = io.BytesIO()
    _Python2Pickler(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
