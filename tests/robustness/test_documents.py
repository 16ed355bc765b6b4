"""Files that are cut off, foreign or scribbled over are refused by name; so are cards that lack something."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.evaluation import Scores, load_scores, save_scores
from quickstudy.learners import load_phi, save_phi
from quickstudy.reporting import read_card, write_card
from quickstudy.training.checkpoint import load_checkpoint, save_checkpoint

from .promises import kept, refused

FILES: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "learner": (
        "file.safetensors",
        lambda path: qs.save(qs.learners.PrototypicalNetwork(qs.networks.MLP(3, (4,))), path),
        qs.load,
    ),
    "phi": ("file.safetensors", lambda path: save_phi({"a": {"b": torch.ones(2, 3)}, "c": {}}, path), load_phi),
    "scores": (
        "file.safetensors",
        lambda path: save_scores({"5way": Scores({"mse": np.ones(4)})}, path),
        load_scores,
    ),
    "checkpoint": (
        "file.pt",
        lambda path: save_checkpoint({"step": 1, "x": torch.ones(3)}, path),
        lambda path: load_checkpoint(path, torch.device("cpu")),
    ),
    "card": ("file.json", lambda path: write_card({"metrics": {}}, path), read_card),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_named(kind: str, tmp_path: Path) -> None:
    """Cut off anywhere, with bytes changed, empty, of text, or of another kind."""
    name, write, read = FILES[kind]
    path = tmp_path / name
    refused(lambda: read(path), "file")
    write(path)
    assert read(path) is not None
    whole, chance = path.read_bytes(), random.Random(kind)
    # The last character of a card is a newline, without which it is whole.
    for length in (0, 1, 7, 8, 9, *(chance.randrange(len(whole) - 2) for _ in range(10))):
        path.write_bytes(whole[:length])
        refused(lambda: read(path), "file")
    for _ in range(40):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(min(len(whole), 200))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(spoiled))
        kept(lambda: read(path), "file|class|argument|inputs|hidden|module|normalization|distance|reduction|scale")
    for text in (b"hello", b"\xff\xfe", b"[]", b"null"):
        path.write_bytes(text)
        refused(lambda: read(path), "file")
    for other, (place, foreign, _) in FILES.items():
        if other != kind:
            (tmp_path / "foreign").mkdir(exist_ok=True)
            foreign(tmp_path / "foreign" / place)
            path.write_bytes((tmp_path / "foreign" / place).read_bytes())
            refused(lambda: read(path), "file")
    path.unlink()
    path.mkdir()
    refused(lambda: read(path), "file")


def test_what_a_file_describes_must_fit_its_weights(tmp_path: Path) -> None:
    """Headers may be edited by hand, or come from another version."""
    from safetensors.torch import save_file

    path = tmp_path / "file.safetensors"
    layer = {"class": "MLP", "arguments": {"inputs": 3, "hidden": [4]}}
    for module in (
        3, None, [], "MLP", {"class": "MLP"}, {"class": "Nobody", "arguments": {}}, {"class": 3, "arguments": {}},
        {"class": "MLP", "arguments": {"inputs": "3"}}, {"class": "MLP", "arguments": {"wings": 2}},
        {"class": "MLP", "arguments": []}, {"class": "Categorical", "arguments": {"ways": 3}}, layer,
    ):  # fmt: skip
        save_file({"x": torch.ones(1)}, path, metadata={"quickstudy": "1", "module": json.dumps(module)})
        refused(lambda: qs.load(path), "file|class|inputs|wings|module")
    save_file({"x": torch.ones(1)}, path, metadata={"quickstudy": "1"})
    refused(lambda: qs.load(path), "file")
    save_file({"x": torch.ones(1)}, path, metadata={"quickstudy": "1", "module": "{"})
    refused(lambda: qs.load(path), "file")


@pytest.mark.unchecked
def test_save_takes_modules_and_load_takes_paths(tmp_path: Path) -> None:
    for thing in (None, 3, "module", torch.nn.Linear(1, 1)):
        refused(lambda thing=thing: qs.save(thing, tmp_path / "x"), "module|register")
    for thing in (None, 3, b"x"):
        refused(lambda thing=thing: qs.load(thing), "path")
        refused(lambda thing=thing: qs.save(qs.networks.MLP(1), thing), "path")
