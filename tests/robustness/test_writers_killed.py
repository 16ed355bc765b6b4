"""A writer may be killed at any moment: the file is then the old one, the new one, or absent."""

import hashlib
import http.server
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from quickstudy.tasks.datasets.storage import download, packed

from .writers import WRITERS, constant, whole

KILLS = 20


def forked(work: Callable[[], object]) -> int:
    """A process of its own that does `work` (starting an interpreter for each would cost seconds)."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)  # threads do not survive the fork
        work()
        os._exit(0)
    finally:
        os._exit(1)


def kill(child: int, after: float) -> None:
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the writer ended by itself"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_killed_writer_leaves_a_whole_file_or_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path))
    name, write, is_whole = WRITERS[kind]
    path, moments, seen = tmp_path / name, random.Random(kind), 0

    def forever() -> None:
        for number in range(10**9):
            write(path, number)

    kills = 0
    # On a busy machine most kills fall where nothing is being written: go on until some did not.
    while kills < KILLS or (not seen and kills < 20 * KILLS):
        kills += 1
        child = forked(forever)
        begun = time.monotonic()
        while not any(tmp_path.iterdir()) and time.monotonic() < begun + 10:
            time.sleep(0.0005)
        kill(child, moments.uniform(0.0, 0.08) * (1 + kills / KILLS))
        leftovers = [found for found in tmp_path.iterdir() if found != path]
        seen += len(leftovers)
        assert len(leftovers) <= 1, "what one killed writer left, the next one removes"
        if path.exists():
            assert is_whole(path)
    assert seen, "no kill fell into the writing"
    write(path, 1)
    assert is_whole(path)
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path: Path) -> None:
    name, write, is_whole = WRITERS["checkpoint"]

    def some(first: int) -> None:
        for number in range(first, first + 30):
            write(tmp_path / name, number)
            assert is_whole(tmp_path / name)

    children = [forked(lambda first=first: some(first)) for first in (0, 100)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_two_processes_build_one_cache_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path))

    def build() -> None:
        for number in range(20):
            made = lambda number=number: ({"x": constant(number)}, {"about": str(number)})
            values, texts = packed(f"both{number}", 1, made)
            assert whole(values["x"])
            assert values["x"][0] == number % 7
            assert texts == {"about": str(number)}

    children = [forked(build) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 20


class _Slow(http.server.BaseHTTPRequestHandler):
    """A file in pieces, slow enough to be killed in the middle."""

    body = bytes(range(256)) * 1024
    pause = 0.005
    missing = 0  # bytes that are promised and never come

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body) + self.missing))
        self.end_headers()
        try:
            for first in range(0, len(self.body), 8192):
                self.wfile.write(self.body[first : first + 8192])
                time.sleep(self.pause)
        except OSError:
            pass  # the reader is dead

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/file"
    server.shutdown()
    server.server_close()


def test_a_download_killed_in_the_middle(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    path = tmp_path / "file.zip"
    md5 = hashlib.md5(_Slow.body, usedforsecurity=False).hexdigest()
    for after in (0.02, 0.06, 0.1):
        kill(forked(lambda: download(address, md5, path)), after)
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) <= 1
    assert download(address, md5, path).read_bytes() == _Slow.body
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_that_ends_early_is_discarded(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(_Slow, "pause", 0.0)
    monkeypatch.setattr(_Slow, "missing", 1000)
    with pytest.raises((ValueError, OSError), match="has the md5|cannot fetch"):
        download(address, "0" * 32, tmp_path / "file.zip")
    assert not list(tmp_path.iterdir())
