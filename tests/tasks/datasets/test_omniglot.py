"""On the real data where it is given; otherwise on zips of the same form with fewer characters."""

import functools
import hashlib
import http.server
import io
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quickstudy.tasks import omniglot
from quickstudy.tasks.datasets import omniglot as module

given = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "omniglot" / "images_background.zip").exists(),
    reason="QUICKSTUDY_DATA has no omniglot; the loader is tested on small zips below",
)


@given
def test_vinyals_split() -> None:
    pool = omniglot()
    assert {split: len(numbers) for split, numbers in pool.parts.items()} == {
        "train": 4112,
        "validation": 688,
        "test": 1692,
    }
    assert ((pool.table >= 0).sum(1) == 20).all()
    assert pool.examples.shape == (4 * 32460, 1, 28, 28)
    batch = pool.episodes(20, 5, 15).test.draw(0, 2, 0)
    batch.check_values()
    assert 0.02 < batch.support.x.mean() < 0.25  # strokes are 1 on paper of 0
    shared = {n.split("/")[0] for n in pool.classes("train")} & {n.split("/")[0] for n in pool.classes("test")}
    assert len(shared) == 1  # the documented alphabet that the split shares


@given
def test_rotations_are_classes() -> None:
    pool = omniglot()
    numbers = {name: index for index, name in enumerate(pool.names)}
    upright = pool.examples[torch.from_numpy(pool.table[numbers["Greek/character01/rot000"]])]
    turned = pool.examples[torch.from_numpy(pool.table[numbers["Greek/character01/rot090"]])]
    assert torch.equal(torch.rot90(upright, 1, (-2, -1)), turned)


@given
def test_background_split_shares_no_alphabet() -> None:
    pool = omniglot("background", resize="area")
    alphabets = {split: {n.split("/")[0] for n in pool.classes(split)} for split in pool.parts}
    assert {split: len(names) for split, names in alphabets.items()} == {"train": 25, "validation": 5, "test": 20}
    assert len(set.union(*alphabets.values())) == 50
    assert {split: len(numbers) for split, numbers in pool.parts.items()} == {
        "train": 832,
        "validation": 132,
        "test": 659,
    }
    assert len(pool.examples.unique()) > 2  # averaged, not picked
    assert pool.protocol["resize"] == "area to 28×28"


def small_zip(path: Path, characters: int, drawings: int = 20) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for character in range(characters):
            for drawing in range(drawings):
                pixels = np.full((105, 105), 255, dtype=np.uint8)
                pixels[10 + character : 60, 20:30] = 0
                buffer = io.BytesIO()
                Image.fromarray(pixels).convert("1").save(buffer, "PNG")
                script = "Alphabet" if path.stem == "images_background" else "Foreign"
                folder = f"{path.stem}/{script}_{character % 2}/character{character:02d}"
                archive.writestr(f"{folder}/{character:04d}_{drawing + 1:02d}.png", buffer.getvalue())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "omniglot"
    folder.mkdir(parents=True)
    small_zip(folder / "images_background.zip", 6)
    small_zip(folder / "images_evaluation.zip", 4)
    monkeypatch.setattr(module, "_ZIPS", {"images_background": ("", 6), "images_evaluation": ("", 4)})
    monkeypatch.setattr(module, "_VALIDATION_ALPHABETS", ("Alphabet_1",))
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path / "cache"))
    return folder


def test_zips_of_the_same_form(small: Path) -> None:
    pool = omniglot("background", size=20)
    assert [len(numbers) for numbers in pool.parts.values()] == [3, 3, 4]
    assert pool.examples.shape == (200, 1, 20, 20)
    assert set(pool.examples.unique().tolist()) == {0, 255}


def test_contents_are_verified(small: Path) -> None:
    small_zip(small / "images_background.zip", 5)
    with pytest.raises(ValueError, match="images_background has 5 characters, not 6"):
        omniglot("background")
    small_zip(small / "images_background.zip", 6, drawings=19)
    with pytest.raises(ValueError, match="has 19 drawings, not 20"):
        omniglot("background")


def test_split_files_are_verified(small: Path) -> None:
    for name in ("train", "val", "test"):
        (small / f"vinyals_{name}.txt").write_text("Alphabet_0/character00/rot000\n")
    with pytest.raises(ValueError, match=r"vinyals_train\.txt names 1 classes, not 4112"):
        omniglot()


def test_without_given_data_it_is_downloaded_and_checked(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher's part is played by a server on this machine."""
    (small / "train.txt").write_text("Alphabet_0/character00/rot000\n")
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in small.iterdir()}
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(small))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("QUICKSTUDY_DATA")
        monkeypatch.setattr(module, "_ZIP_ADDRESS", f"http://127.0.0.1:{server.server_port}/{{}}.zip")
        monkeypatch.setattr(module, "_SPLIT_ADDRESS", f"http://127.0.0.1:{server.server_port}/{{}}.txt")
        zips = {name: (md5[f"{name}.zip"], count) for name, (_, count) in module._ZIPS.items()}
        monkeypatch.setattr(module, "_ZIPS", zips)
        assert len(omniglot("background").classes("test")) == 4
        monkeypatch.setattr(module, "_SPLIT_FILES", {"train": ("train", md5["train.txt"], 1)})
        assert module._split_classes("train") == ["Alphabet_0/character00/rot000"]
        server.shutdown()
    kept = sorted(path.name for path in (tmp_path / "cache" / "downloads" / "omniglot").iterdir())
    assert kept == ["images_background.zip", "images_evaluation.zip", "vinyals_train.txt"]
    assert len(omniglot("background").classes("test")) == 4  # from the cache; nobody is asked


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "random"}, "split must be 'vinyals' or 'background', got 'random'"),
        ({"resize": "bicubic"}, "resize must be 'nearest' or 'area'"),
        ({"size": 200}, "size must lie in 1 … 105 pixels, got 200"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        omniglot(**arguments)
