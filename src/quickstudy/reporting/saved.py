"""Runs as they lie on disk: the card, every task's scores, logs and learners."""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstudy.evaluation import Scores, load_scores
from quickstudy.learners import Learner
from quickstudy.rebuild import load
from quickstudy.reporting.cards import entries, read_card
from quickstudy.training import read_log

__all__ = ["SavedRun", "open_run", "run_folder"]


def run_folder(folder: Path, learner: str, seed: int, learners: int, seeds: int) -> Path:
    """Where one learner of one seed lies: in the folder itself when there is one run in all, and below it otherwise."""
    if learners == 1:
        return folder if seeds == 1 else folder / f"seed{seed}"
    # A name without any of these letters is known by its checksum; `run` refuses two names that look the same.
    slug = re.sub(r"[^a-z0-9+]+", "-", learner.lower()).strip("-") or f"{zlib.crc32(learner.encode()):08x}"
    return folder / slug / f"seed{seed}"


@dataclass(frozen=True)
class SavedRun:
    """A finished run.

    Attributes:
        folder: where it lies.
        card: its result.
        parts: by learner, the folders of its seeds.
    """

    folder: Path
    card: dict[str, Any]
    parts: dict[str, list[Path]]

    def scores(self, learner: str) -> list[dict[str, Scores]]:
        """Of every seed, the scores by protocol."""
        return [load_scores(part / "scores.safetensors") for part in self.parts[learner]]

    def logs(self) -> dict[str, list[list[dict[str, Any]]]]:
        """By learner that was trained, the lines of every seed's log."""
        found = {
            name: [read_log(part / "log.jsonl") for part in parts if (part / "log.jsonl").exists()]
            for name, parts in self.parts.items()
        }
        return {name: lines for name, lines in found.items() if lines}

    def learners(self) -> dict[str, Learner]:
        """The learners of the first seed."""
        return {name: load(parts[0] / "learner") for name, parts in self.parts.items()}


def open_run(folder: Path) -> SavedRun:
    """What a recipe wrote to `folder`.

    Raises:
        FileNotFoundError: there is no such folder, or no finished run in it.
        ValueError: what is there is the result of something else.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not (folder / "result.json").exists():
        unfinished = (folder / "config.json").exists()
        hint = "its run is not finished; go on with --resume" if unfinished else "no run was written to it"
        raise FileNotFoundError(f"{folder} has no result.json: {hint}")
    card = read_card(folder / "result.json")
    if not (isinstance(card, dict) and {"recipe", "seeds", "metrics", "protocol"} <= set(card)):
        raise ValueError(f"{folder / 'result.json'} is not the result of a recipe")
    names, seeds = list(entries(card)), card["seeds"]
    parts = {
        name: [
            place
            for seed in seeds
            if ((place := run_folder(folder, name, seed, len(names), len(seeds))) / "scores.safetensors").exists()
        ]
        for name in names
    }
    missing = [name for name, places in parts.items() if not places]
    if missing:
        raise FileNotFoundError(f"{folder} has a result, but no scores of {', '.join(missing)}; was a folder moved?")
    return SavedRun(folder, card, parts)
