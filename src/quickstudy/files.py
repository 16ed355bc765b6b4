"""Files that are whole or absent: everything quickstudy writes is made in a folder of its own first, then renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there, what a killed writer left behind stays until someone deletes it
    fcntl = None  # type: ignore[assignment]

__all__ = ["replacing", "write_text"]


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path; on success it is flushed to disk and renamed to `path` in one step.

    A reader, or a process that is killed at any moment, sees either the old file or the new one. If the body raises,
    the temporary file is removed and `path` is as it was. What killed writers of `path` left behind is removed by the
    next one; several may write at once, and the last wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    # A folder, since some writers (safetensors) put a temporary file of their own beside the one they are asked for.
    folder, lock = _locked_folder(path)
    temporary = folder / path.name
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        # Some writers make private files; a result is for whoever may read its folder.
        temporary.chmod(mode)
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _locked_folder(path: Path) -> tuple[Path, int | None]:
    """A new folder beside `path`, and the lock on it, which ends with this process however that ends."""
    while True:
        folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        folder.mkdir()
        if fcntl is None:
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another writer took it for a leftover, before it was locked
        if _lock(lock) and folder.exists():
            return folder, lock
        os.close(lock)


def _remove_leftovers(path: Path) -> None:
    """Remove the folders of writers of `path` that are no more: nobody holds their locks."""
    if fcntl is None:
        return
    for name in os.listdir(path.parent):
        if not (name.startswith(f".{path.name}.") and name.endswith(".tmp")):
            continue
        leftover = path.with_name(name)
        try:
            lock = os.open(leftover, os.O_RDONLY)
        except OSError:
            continue  # its writer has finished, or it is somebody else's
        try:
            if _lock(lock):
                shutil.rmtree(leftover, ignore_errors=True)
        finally:
            os.close(lock)


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had. Where the file system has no locks nobody's folder is taken for a leftover."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
