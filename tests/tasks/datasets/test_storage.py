import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from quickstudy.tasks.datasets.storage import download, fingerprint, given_folder, packed, scratch


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder served from this machine, holding `file.bin`."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(b"letters" * 1000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


MD5 = hashlib.md5(b"letters" * 1000).hexdigest()


def test_download_checks_and_keeps(server: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file.bin"
    assert download(f"{server}/file.bin", MD5, path).read_bytes() == b"letters" * 1000
    stamp = path.stat().st_mtime_ns
    download("http://127.0.0.1:9/nowhere", MD5, path)  # it is there: nothing is asked
    assert path.stat().st_mtime_ns == stamp


def test_a_wrong_checksum_leaves_nothing(server: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file.bin"
    with pytest.raises(ValueError, match=f"has the md5 {MD5}, but 0000 was expected"):
        download(f"{server}/file.bin", "0000", path)
    assert list(path.parent.iterdir()) == []


def test_what_cannot_be_fetched_says_where_to_put_it(server: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="put the file there by hand, as .*cache"):
        download(f"{server}/none.bin", MD5, tmp_path / "cache" / "none.bin")
    assert list((tmp_path / "cache").iterdir()) == []


def test_packed_builds_once_and_again_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path))
    calls = []

    def build() -> tuple[dict, dict]:
        calls.append(1)
        return {"x": torch.arange(3)}, {"names": "abc"}

    for _ in range(2):
        tensors, texts = packed("thing", 1, build)
        assert tensors["x"].tolist() == [0, 1, 2]
        assert texts["names"] == "abc"
    assert len(calls) == 1
    (tmp_path / "thing-v1.safetensors").write_bytes(b"cut off")
    packed("thing", 1, build)
    packed("thing", 2, build)  # a new version does not read the old file
    assert len(calls) == 3


def test_given_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path))
    assert given_folder("mnist") == tmp_path / "mnist"
    assert given_folder("none") is None
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="QUICKSTUDY_DATA is .* not a folder"):
        given_folder("mnist")
    monkeypatch.delenv("QUICKSTUDY_DATA")
    assert given_folder("mnist") is None


def test_scratch_is_zeros_that_nobody_else_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    tensor = scratch((3, 2, 5))
    assert tensor.shape == (3, 2, 5)
    assert tensor.dtype == torch.uint8
    assert not tensor.any()
    tensor[1] = 7
    assert list((tmp_path / "cache").iterdir()) == []  # a killed process leaves nothing
    tensors, _ = packed("large", 1, lambda: ({"x": tensor}, {"a": "b"}))
    assert torch.equal(tensors["x"], tensor)
    assert scratch((0, 3)).shape == (0, 3)


def test_fingerprint_sees_names_sizes_tables_and_the_ends_of_large_files(tmp_path: Path) -> None:
    names = ["a.png", "list.txt", "large.pkl"]
    for name in names:
        (tmp_path / name).write_bytes(bytes(5_000_000 if name == "large.pkl" else 10))

    def found(order: list[str] = names) -> str:
        return fingerprint(tmp_path, [tmp_path / name for name in order])

    seen = [found()]
    (tmp_path / "moved").mkdir()
    for name in names:
        (tmp_path / "moved" / name).write_bytes((tmp_path / name).read_bytes())
    assert fingerprint(tmp_path / "moved", [tmp_path / "moved" / name for name in names]) == seen[0]
    seen.append(found(names[:2]))
    (tmp_path / "list.txt").write_bytes(b"1" * 10)
    seen.append(found())
    (tmp_path / "a.png").write_bytes(bytes(11))
    seen.append(found())
    (tmp_path / "large.pkl").write_bytes(bytes(4_999_999) + b"1")
    seen.append(found())
    assert len(set(seen)) == 5
