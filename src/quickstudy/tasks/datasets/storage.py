"""Where data lives on disk: given folders, downloads that are checked, and packed tensors that are cached.

`QUICKSTUDY_DATA` names a folder with data as publishers serve them, one folder per data set; it is only read.
`QUICKSTUDY_CACHE` names the folder for downloads and packed tensors; by default the user's cache folder.
"""

import hashlib
import math
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import platformdirs
import torch
from rich.progress import wrap_file
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from quickstudy.files import replacing
from quickstudy.progress import console

__all__ = ["cache_folder", "download", "fingerprint", "given_file", "given_folder", "packed", "scratch"]

_TIMEOUT = 60.0  # seconds without an answer
_TABLES = (".csv", ".txt")
_LARGE = 2**22  # bytes of a file that is no single image
_END = 2**16


def cache_folder() -> Path:
    """The folder for downloads and packed tensors."""
    return Path(os.environ.get("QUICKSTUDY_CACHE") or platformdirs.user_cache_dir("quickstudy"))


def given_folder(name: str) -> Path | None:
    """The folder of the data set `name` below `QUICKSTUDY_DATA`, if there is one.

    Raises:
        FileNotFoundError: `QUICKSTUDY_DATA` names a folder that does not exist.
    """
    root = os.environ.get("QUICKSTUDY_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(f"QUICKSTUDY_DATA is {root!r}, which is not a folder")
    folder = Path(root) / name
    return folder if folder.is_dir() else None


def given_file(folder: Path | str | None, data: str, file: str, number: int) -> Path:
    """A file of the UCI repository, in the folder that was given or in that of `data` below `QUICKSTUDY_DATA`.

    Raises:
        FileNotFoundError: it is not there; the message says where the publisher has it.
    """
    given = given_folder(data) if folder is None else Path(folder)
    path = None if given is None else given / file
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"there is no {path or file}; get it from the UCI repository (number {number}) and put "
            f"it into the folder {data} of the folder that the environment variable QUICKSTUDY_DATA names"
        )
    return path


def download(address: str, md5: str, path: Path) -> Path:
    """The file at `address`, at `path`; nothing is done when it is there already.

    It appears at `path` only once it is complete and its checksum is right.

    Raises:
        OSError: it cannot be fetched.
        ValueError: its checksum is not `md5`.
    """
    if path.exists():
        return path
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer, open(temporary, "wb") as file:  # noqa: S310
                length = int(answer.headers.get("Content-Length") or 0)
                quiet = not console.is_terminal
                with wrap_file(answer, length, description=path.name, console=console, disable=quiet) as source:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise OSError(f"cannot fetch {address}: {error}; put the file there by hand, as {path}") from error
        found = hashlib.md5(temporary.read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise ValueError(f"{address} has the md5 {found}, but {md5} was expected; the download is discarded")
    return path


def packed(
    name: str, version: int, build: Callable[[], tuple[dict[str, Tensor], dict[str, str]]]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts from the cache; built and put there when they are not.

    Args:
        name: of the file, with everything that its contents depend on.
        version: raised when `build` changes what it makes, so that old files are left aside.
        build: makes the tensors and texts.
    """
    path = cache_folder() / f"{name}-v{version}.safetensors"
    try:
        return _unpacked(path)
    except FileNotFoundError:
        pass
    except SafetensorError:
        path.unlink(missing_ok=True)  # damaged, by a full disk say: made again below, or by another process just now
    tensors, texts = build()
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=texts)
    del tensors  # what was built may fill the memory, or a scratch file; the packed file is read as it is needed
    return _unpacked(path)


def _unpacked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def scratch(shape: tuple[int, ...]) -> Tensor:
    """Zeros, uint8, in a nameless file in the cache folder: images that would not fit into memory can be packed.

    The file goes when the tensor does, also when the process is killed.

    Raises:
        OSError: the disk has no room for it.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        size = max(1, math.prod(shape))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a crash at some later write
        else:
            file.truncate(size)
        flat = np.memmap(file, dtype=np.uint8, mode="r+", shape=(size,))
    return torch.from_numpy(flat)[: math.prod(shape)].reshape(shape)


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that change when files below `root` are added, removed, renamed or replaced.

    It is made of the files' names and sizes, of what tables hold, and of the two ends of files above 4 MiB: what can be
    had of a hundred thousand images in a second. An image that is edited and keeps its size goes unnoticed.
    """
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root).as_posix()}\0{size}\n".encode())
        if path.suffix in _TABLES:
            digest.update(path.read_bytes())
        elif size > _LARGE:
            with open(path, "rb") as file:
                digest.update(file.read(_END))
                file.seek(-_END, os.SEEK_END)
                digest.update(file.read())
    return digest.hexdigest()[:12]
