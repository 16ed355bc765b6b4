"""Running a recipe: train, score, write down; and go on where an interrupted run stopped."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from quickstudy import progress
from quickstudy.evaluation import Probe, Scores, evaluate, interval, load_scores, probe, save_scores
from quickstudy.files import write_text
from quickstudy.learners import Learner
from quickstudy.rebuild import load, save
from quickstudy.recipes.fewer_tasks import SHARES, with_fewer_tasks
from quickstudy.recipes.recipe import Contestant, Recipe
from quickstudy.reporting import Episode, Outcome, card, draw_episode, machine, run_folder, write_card, write_report
from quickstudy.tasks import Episodes, TaskSource
from quickstudy.training import fit, make_fabric, read_log

__all__ = ["drawn_tasks", "run"]

_DRAWN = 2  # test tasks that a report shows
_PROBED = 100  # test tasks that failure probes are made on


def run(
    recipe: Recipe,
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    everyone: bool = False,
    device: str = "auto",
    resume: bool = False,
    command: str = "",
    probes: bool = False,
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
        probes: also train the first-named learner anew on fewer tasks. (Probes that need no training are always made.)

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
    random = _rehearse(contestants, tests, device)
    _claim_folder(
        folder,
        resume,
        {"recipe": recipe.name, "settings": recipe.describe(), "seeds": list(seeds), "everyone": everyone},
    )
    tasks = {name: min(recipe.test_tasks, source.test.size or recipe.test_tasks) for name, source in tests.items()}
    protocol = {name: source.protocol | {"tasks": tasks[name]} for name, source in tests.items()}
    outcomes: dict[str, Outcome] = {}
    learners: dict[str, Learner] = {}
    single = len(contestants) == 1 and len(seeds) == 1
    for name, contestant in contestants.items():
        for seed in seeds if random[name] else seeds[:1]:
            place = run_folder(folder, name, seed, len(contestants), len(seeds))
            one = _Run(recipe, name, contestant, seed, place, device)
            learner, scores, seconds = one.finish(tests)
            describe = contestant.training.describe() if contestant.training else None
            outcome = outcomes.setdefault(name, Outcome(contestant.role, [], [], describe, learner.normalization))
            outcome.scores.append(scores)
            outcome.seconds.append(seconds)
            if (place / "log.jsonl").exists():
                outcome.curves.append(read_log(place / "log.jsonl"))
            if name not in learners:
                learners[name] = learner
                outcome.probes = one.probes(learner, tests)
            if not single:
                only = {name: Outcome(contestant.role, [scores], [seconds], describe, learner.normalization)}
                write_card(_card(recipe, command, [seed], protocol, only, device), place / "result.json")
    if probes:
        _probe_fewer_tasks(recipe, contestants, outcomes, tests, seeds[0], folder, device)
    result = _card(recipe, command, seeds, protocol, outcomes, device)
    logs = {name: outcome.curves for name, outcome in outcomes.items() if outcome.curves}
    write_report(result, folder / "report.html", logs=logs, episodes=drawn_tasks(learners, tests))
    write_card(result, folder / "result.json")
    return result


def drawn_tasks(learners: dict[str, Learner], tests: dict[str, TaskSource]) -> list[Episode]:
    """The first test tasks of the first protocol, and what the learners answer."""
    protocol, source = next(iter(tests.items()))
    return [
        draw_episode(learners, source.test.draw(task, 1, 0), f"Test task {task} of {protocol}", f"task{task}")
        for task in range(min(_DRAWN, source.test.size or _DRAWN))
    ]


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
        weights, scored, timed = (
            self.folder / name for name in ("learner.safetensors", "scores.safetensors", "seconds.json")
        )
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
        scores = {
            name: evaluate(
                learner,
                source.test,
                tasks=self.recipe.test_tasks,
                batch_size=self.contestant.batch_size,
                device=self.device,
            )
            for name, source in tests.items()
        }
        write_text(timed, json.dumps(seconds))
        save_scores(scores, scored)
        return learner, scores, seconds

    def probes(self, learner: Learner, tests: dict[str, TaskSource]) -> list[Probe]:
        """How it does when the tasks of the first protocol get harder, as far as that is not known yet.

        Who trains on every support anew would take longer for this than for all else, and the optimum is none when its
        assumptions do not hold.
        """
        path = self.folder / "probes.json"
        if learner.optimizes or self.contestant.role == "optimum":
            return []
        if not path.exists():
            progress.console.log(f"{self.recipe.name}: {self.name}, failure probes")
            source, batch_size = next(iter(tests.values())), self.contestant.batch_size
            found = probe(
                learner,
                source.test,
                self.recipe.metric,
                tasks=min(_PROBED, self.recipe.test_tasks),
                batch_size=batch_size,
                device=self.device,
            )
            write_text(path, json.dumps([each.to_json() for each in found], indent=1) + "\n")
        return [Probe.from_json(each) for each in json.loads(path.read_text(encoding="utf-8"))]


def _probe_fewer_tasks(
    recipe: Recipe,
    contestants: dict[str, Contestant],
    outcomes: dict[str, Outcome],
    tests: dict[str, TaskSource],
    seed: int,
    folder: Path,
    device: str,
) -> None:
    """Train the first-named learner that is trained on fewer tasks, and add what comes of it to its probes."""
    name = next((name for name, each in contestants.items() if each.training and each.role == "learner"), None)
    if name is None:
        raise ValueError("no learner of this recipe is trained across tasks; leave out --probes")
    protocol = next(iter(tests))
    values = [outcomes[name].scores[0][protocol]]
    for share in SHARES[1:]:
        place = folder / "fewer-tasks" / f"{share:g}"
        one = _Run(recipe, name, with_fewer_tasks(contestants[name], share), seed, place, device)
        values.append(one.finish({protocol: tests[protocol]})[1][protocol])
    means = tuple(interval(scores.values[recipe.metric]) for scores in values)
    kind = "classes" if isinstance(contestants[name].training.tasks, Episodes) else "tasks"  # type: ignore[union-attr]
    fewer = Probe("fewer training tasks", f"share of the training {kind}", SHARES, "training tasks", means)
    outcomes[name].probes.append(fewer)


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
