"""Running a recipe: train, score, write down; and go on where an interrupted run stopped."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from quickstudy import progress
from quickstudy.evaluation import Kept, Scores, evaluate, load_scores, save_scores
from quickstudy.files import write_text
from quickstudy.learners import Learner
from quickstudy.rebuild import load, save
from quickstudy.recipes.recipe import Contestant, Recipe
from quickstudy.reporting import Outcome, card, curves, machine, task_picture, write_card, write_report
from quickstudy.tasks import TaskSource
from quickstudy.training import fit, make_fabric, read_log

__all__ = ["run"]

_WEIGHTS = "learner.safetensors"


def run(
    recipe: Recipe,
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    everyone: bool = False,
    device: str = "auto",
    resume: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Train and score a recipe's main contestant, or everyone, and write `result.json` and `report.html`.

    Every single run (one contestant, one seed) has a folder with `log.jsonl`, `checkpoint.pt`, `learner.safetensors`,
    `scores.safetensors` and `result.json`: `folder` itself when there is one run in all, and folders below it
    otherwise. A finished run is not repeated. What has no weights, and so nothing random, is scored once.

    Args:
        recipe: what to run.
        folder: where to.
        seeds: of training; several give intervals over seeds.
        everyone: all contestants rather than the main one (always so when there is no main one).
        device: as for `fit`.
        resume: go on with what is in `folder`.
        command: the command line, for the card.

    Returns:
        The card.

    Raises:
        FileExistsError: `folder` holds a run and `resume` is False.
        ValueError: `folder` holds a run with other settings, a seed stands twice, or what the recipe was told is
            impossible; this is found out before anything is trained or written.
    """
    if len(set(seeds)) != len(seeds) or not seeds or min(seeds) < 0:
        raise ValueError(f"seeds must be different numbers of at least 0, got {list(seeds)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("recipes run in one process; under torchrun, call quickstudy.fit from a script of your own")
    contestants, tests = recipe.contestants(), recipe.tests()
    if recipe.main is not None and not everyone:
        contestants = {recipe.main: contestants[recipe.main]}
    _check_likes(contestants)
    random = _rehearse(contestants, tests, device)
    _claim_folder(
        folder,
        resume,
        {"recipe": recipe.name, "settings": recipe.describe(), "seeds": list(seeds), "everyone": everyone},
    )
    protocol = {name: source.protocol | {"tasks": recipe.test_tasks} for name, source in tests.items()}
    outcomes: dict[str, Outcome] = {}
    learners: dict[str, Learner] = {}
    single = len(contestants) == 1 and len(seeds) == 1
    for name, contestant in contestants.items():
        for seed in seeds if random[name] else seeds[:1]:
            place = folder
            if not single:
                place = folder / _slug(name) / f"seed{seed}" if len(contestants) > 1 else folder / f"seed{seed}"
            if contestant.like is not None:
                trained = folder / _slug(contestant.like) / f"seed{seed}" / _WEIGHTS
                contestant = replace(contestant, build=partial(_with_weights, contestant.build, trained))
            one = _Run(recipe, name, contestant, seed, place, device)
            learner, scores, seconds = one.finish(tests)
            describe = contestant.training.describe() if contestant.training else None
            if contestant.like is not None:
                describe = {"weights of": contestant.like}
            outcome = outcomes.setdefault(
                name,
                Outcome(
                    contestant.role,
                    [],
                    [],
                    describe,
                    learner.normalization,
                    series=contestant.series,
                    at=contestant.at,
                ),
            )
            outcome.scores.append(scores)
            outcome.seconds.append(seconds)
            if (place / "log.jsonl").exists():
                outcome.curves.append(read_log(place / "log.jsonl"))
            learners.setdefault(name, learner)
            if not single:
                only = {name: Outcome(contestant.role, [scores], [seconds], describe, learner.normalization)}
                write_card(_card(recipe, command, [seed], protocol, only, device), place / "result.json")
    result = _card(recipe, command, seeds, protocol, outcomes, device)
    if recipe.axis is not None:
        result["axis"], result["tests at"] = recipe.axis, recipe.tests_at()
    if len(outcomes) > 1:
        result["verdict"] = recipe.answer(outcomes) or result["verdict"]
    pictures = {}
    logs = {name: outcome.curves for name, outcome in outcomes.items() if outcome.curves}
    if logs:
        pictures["Learning curves"] = curves(logs)
    pictures["One test task"] = task_picture(learners, next(iter(tests.values())).test.draw(0, 1, 0))
    write_report(result, pictures, folder / "report.html")
    write_card(result, folder / "result.json")
    return result


@dataclass(frozen=True)
class _Run:
    """One contestant, one seed."""

    recipe: Recipe
    name: str
    contestant: Contestant
    seed: int
    folder: Path
    device: str

    def finish(self, tests: dict[str, Any]) -> tuple[Learner, dict[str, Scores], float]:
        """Train and score, as far as that is not done; the learner, its scores and the seconds of training."""
        weights, scored, timed = (self.folder / name for name in (_WEIGHTS, "scores.safetensors", "seconds.json"))
        if scored.exists():
            return load(weights), load_scores(scored), json.loads(timed.read_text())
        progress.console.log(f"{self.recipe.name}: {self.name}, seed {self.seed}")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            learner = self.contestant.build()
        seconds = 0.0
        training = self.contestant.training
        if training is not None:
            history = fit(
                learner,
                training.tasks,
                seed=self.seed,
                device=self.device,
                folder=self.folder,
                resume=True,
                **training.arguments(),
            )
            seconds = history.seconds
        learner = learner.to("cpu").eval()
        save(learner, weights)
        kept: Kept = []
        scores = {
            name: evaluate(
                learner,
                source.test,
                tasks=self.recipe.test_tasks,
                batch_size=self.contestant.batch_size,
                device=self.device,
                kept=kept,
            )
            for name, source in tests.items()
            if self._takes(name, source, learner)
        }
        write_text(timed, json.dumps(seconds))
        save_scores(scores, scored)
        return learner, scores, seconds

    def _takes(self, protocol: str, source: TaskSource, learner: Learner) -> bool:
        """Whether the contestant is scored under a protocol: as it says, and as far as it has outputs."""
        ways = getattr(learner.likelihood, "ways", None)
        asked = self.contestant.protocols is None or protocol in self.contestant.protocols
        return asked and (ways is None or source.test.ways is None or source.test.ways <= ways)


def _with_weights(build: Callable[[], Learner], trained: Path) -> Learner:
    """A learner with the weights that another has after training."""
    learner = build()
    learner.load_state_dict(load(trained).state_dict())
    return learner


def _check_likes(contestants: dict[str, Contestant]) -> None:
    before: set[str] = set()
    for name, contestant in contestants.items():
        if contestant.like is not None and (contestant.like not in before or contestant.training is not None):
            raise ValueError(
                f"the contestant {name!r} has like={contestant.like!r}, which must name one that stands before it; and "
                "it is not trained itself"
            )
        before.add(name)


def _rehearse(contestants: dict[str, Contestant], tests: dict[str, TaskSource], device: str) -> dict[str, bool]:
    """Make everything once, so that a wrong value is met before the first step; whether each contestant has weights."""
    make_fabric(device)
    for source in tests.values():
        _ = source.test
    with torch.random.fork_rng():
        return {name: any(True for _ in contestant.build().parameters()) for name, contestant in contestants.items()}


def _card(
    recipe: Recipe,
    command: str,
    seeds: Sequence[int],
    protocol: dict[str, Any],
    outcomes: dict[str, Outcome],
    device: str,
) -> dict[str, Any]:
    where = machine(make_fabric(device).device)
    return card(recipe.name, recipe.claim, command, seeds, recipe.describe(), protocol, outcomes, recipe.metric, where)


def _claim_folder(folder: Path, resume: bool, config: dict[str, Any]) -> None:
    """Make sure that `folder` is new, or holds the very run that is to be resumed."""
    path = folder / "config.json"
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            of = before["recipe"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise FileExistsError(f"{path} is of something else; choose another --out") from None
        if not resume:
            raise FileExistsError(f"{folder} holds a run of {of}; pass --resume, or another --out")
        now = json.loads(json.dumps(config))
        if before != now:
            changed = [key for key in now if before.get(key) != now[key]]
            raise ValueError(
                f"{folder} holds a run with other {', '.join(changed)}: "
                + "; ".join(f"{key} was {before.get(key)}, now {now[key]}" for key in changed)
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty and holds no run; choose another --out")
    write_text(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
