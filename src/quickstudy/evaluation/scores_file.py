"""Scores on disk: every task's number, so that runs can be paired later."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from quickstudy.evaluation.evaluate import Scores
from quickstudy.files import replacing

__all__ = ["load_scores", "save_scores"]


def save_scores(scores: Mapping[str, Scores], path: Path) -> None:
    """Write the scores under several protocols to one file, atomically."""
    tensors, header = {}, {}
    for protocol, score in scores.items():
        about = {"seed": score.seed, "split": score.split, "asked": score.asked, "metrics": list(score.values)}
        header[protocol] = about
        tensors.update({f"{protocol}/{name}": torch.from_numpy(value) for name, value in score.values.items()})
        if score.bins is not None:
            tensors[f"{protocol}/bins"] = score.bins
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"scores": json.dumps(header)})


def load_scores(path: Path) -> dict[str, Scores]:
    """Read what `save_scores` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no scores at {path}")
    try:
        return _read(path)
    # A header of which a bit has changed may say anything.
    except (SafetensorError, OSError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or does not hold scores: {error}") from error


def _read(path: Path) -> dict[str, Scores]:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["scores"])
        keys = set(file.keys())
        return {
            protocol: Scores(
                {name: file.get_tensor(f"{protocol}/{name}").numpy() for name in about["metrics"]},
                file.get_tensor(f"{protocol}/bins") if f"{protocol}/bins" in keys else None,
                about["seed"],
                about["split"],
                about["asked"],
            )
            for protocol, about in header.items()
        }
