"""What the library writes: how each kind of file is made, and how to tell that one is whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import quickstudy as qs
from quickstudy.evaluation import Scores, load_scores, save_scores
from quickstudy.learners import load_phi, save_phi
from quickstudy.networks import MLP
from quickstudy.reporting import read_card, write_card
from quickstudy.tasks.datasets.storage import packed
from quickstudy.training.checkpoint import load_checkpoint, save_checkpoint

# Large enough that a kill often falls into the writing.
NUMBERS = 300_000


def constant(number: int) -> torch.Tensor:
    """Every number the same: half an old file and half a new one could not look like this."""
    return torch.full((NUMBERS,), float(number % 7))


def whole(values: torch.Tensor) -> bool:
    return len(values) == NUMBERS and bool((values == values[0]).all())


def card(number: int) -> dict:
    return {"values": [number] * 50_000}


def _scores(number: int) -> Scores:
    return Scores({"mse": np.full(NUMBERS, float(number))})


def _learner(number: int) -> torch.nn.Module:
    network = MLP(500, (500,))
    torch.nn.init.constant_(network.layers[0].weight, number)
    return network


def _same(weight: torch.Tensor) -> bool:
    return bool((weight == weight[0, 0]).all())


def _packed() -> bool:
    values, _ = packed("killed", 1, lambda: ({"x": constant(3)}, {"about": "x"}))
    return whole(values["x"])


WRITERS: dict[str, tuple[str, Callable[[Path, int], object], Callable[[Path], bool]]] = {
    "checkpoint": (
        "checkpoint.pt",
        lambda path, number: save_checkpoint({"step": number, "x": constant(number)}, path),
        lambda path: whole(load_checkpoint(path, torch.device("cpu"))["x"]),
    ),
    "learner": (
        "learner.safetensors",
        lambda path, number: qs.save(_learner(number), path),
        lambda path: _same(qs.load(path).layers[0].weight),
    ),
    "phi": (
        "phi.safetensors",
        lambda path, number: save_phi({"x": constant(number)}, path),
        lambda path: whole(load_phi(path)["x"]),
    ),
    "scores": (
        "scores.safetensors",
        lambda path, number: save_scores({"test": _scores(number)}, path),
        lambda path: whole(torch.from_numpy(load_scores(path)["test"].values["mse"])),
    ),
    "card": (
        "result.json",
        lambda path, number: write_card(card(number), path),
        lambda path: len(set(read_card(path)["values"])) == 1,
    ),
    # A cache is written when it is absent: what is removed before each is what a new machine lacks.
    "cache": (
        "killed-v1.safetensors",
        lambda path, number: (path.unlink(missing_ok=True), _packed()),
        lambda path: _packed(),
    ),
}
"""By kind: the file's name, what writes it, and whether what is there can be read and is whole."""
