"""Running a recipe: train, score, write down; and go on where an interrupted run stopped."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from quickstudy.files import write_text
from quickstudy.learners import GradientLearner, InContextTransformer, Learner
from quickstudy.recipes.balancing_toy import BalancingToy, ToyRun
from quickstudy.recipes.fewer_tasks import fewest_tasks, probe_fewer_tasks
from quickstudy.recipes.named_recipe import NamedRecipe
from quickstudy.recipes.named_run import NamedRun
from quickstudy.recipes.one_run import WEIGHTS, OneRun, with_weights
from quickstudy.recipes.recipe import Contestant, Recipe
from quickstudy.recipes.when_to_share import SharingRun, WhenToShare
from quickstudy.reporting import (
    Episode,
    Outcome,
    Panel,
    card,
    draw_attention,
    draw_episode,
    draw_fits,
    entries,
    machine,
    one_dimensional,
    run_folder,
    write_card,
    write_report,
)
from quickstudy.tasks import TaskSource
from quickstudy.training import make_fabric, read_log

__all__ = ["drawings", "run"]

_RUNS: dict[type, type[OneRun]] = {WhenToShare: SharingRun, NamedRecipe: NamedRun, BalancingToy: ToyRun}
"""Recipes whose contestants are no learners are trained and scored in ways of their own; the first that fits."""

_DRAWN = 2  # test tasks that a report shows
_DRAWN_LEARNERS = 8


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
    _check_names(contestants)
    if probes:
        if isinstance(recipe, tuple(_RUNS)):
            raise ValueError(f"probes train on fewer tasks, and those of {recipe.name} are a fixed set; leave them out")
        fewest_tasks(contestants)
    random = _rehearse(contestants, tests, device)
    _claim_folder(
        folder,
        resume,
        {"recipe": recipe.name, "settings": recipe.describe(), "seeds": list(seeds), "everyone": everyone},
    )
    recipe.prepare(folder, seeds, device)
    protocol = recipe.describe_tests(tests)
    outcomes: dict[str, Outcome] = {}
    learners: dict[str, Learner] = {}
    kind = next((run for cls, run in _RUNS.items() if isinstance(recipe, cls)), OneRun)
    single = len(contestants) == 1 and len(seeds) == 1
    for name, contestant in contestants.items():
        for seed in seeds if random[name] else seeds[:1]:
            place = run_folder(folder, name, seed, len(contestants), len(seeds))
            seeded = contestant
            if contestant.like is not None:
                trained = run_folder(folder, contestant.like, seed, len(contestants), len(seeds)) / WEIGHTS
                seeded = replace(contestant, build=partial(with_weights, contestant.build, trained))
            one = kind(recipe, name, seeded, seed, place, device)
            learner, scores, seconds = one.finish(tests)
            describe = one.describe()
            outcome = outcomes.setdefault(name, _outcome(contestant, learner, describe))
            if outcome.training and describe and outcome.training is not describe and "chosen" in describe:
                outcome.training["chosen"] = [*outcome.training["chosen"], *describe["chosen"]]
            outcome.scores.append(scores)
            outcome.seconds.append(seconds)
            if (place / "log.jsonl").exists():
                outcome.curves.append(read_log(place / "log.jsonl"))
            if name not in learners:
                learners[name] = learner
                # A sweep asks one thing of many contestants; looking into them all would take longer than its answer.
                if recipe.axis is None:
                    outcome.adaptation = one.adaptation(learner, tests)
                    outcome.cosines = one.cosines()
                    outcome.probes = one.probes(learner, tests)
            if not single:
                only = {name: replace(_outcome(contestant, learner, describe), scores=[scores], seconds=[seconds])}
                write_card(_card(recipe, command, [seed], protocol, only, device), place / "result.json")
    if probes:
        probe_fewer_tasks(recipe, contestants, outcomes, tests, seeds[0], folder, device)
    result = _card(recipe, command, seeds, protocol, outcomes, device)
    if recipe.axis is not None:
        result["axis"], result["tests at"] = recipe.axis, recipe.tests_at()
    if len(outcomes) > 1:
        answer = recipe.answer(outcomes)
        if answer is not None:
            result["verdict"] = result["answer"] = answer
    logs = {name: outcome.curves for name, outcome in outcomes.items() if outcome.curves}
    write_report(result, folder / "report.html", logs=logs, **drawings(recipe, learners, tests, result))
    write_card(result, folder / "result.json")
    return result


def _outcome(contestant: Contestant, learner: Learner, training: dict[str, Any] | None) -> Outcome:
    """What is known of a contestant before its scores are."""
    chosen = getattr(learner, "tasks_at_once", None) or "by device"
    return Outcome(
        contestant.role,
        [],
        [],
        training,
        learner.normalization,
        series=contestant.series,
        at=contestant.at,
        tasks_at_once=chosen if hasattr(learner, "tasks_at_once") else None,
    )


def drawings(
    recipe: Recipe, learners: Mapping[str, Learner], tests: Mapping[str, TaskSource], result: Mapping[str, Any]
) -> dict[str, Any]:
    """What a report shows of the learners themselves, as arguments of `write_report`.

    Args:
        recipe: that was run.
        learners: by the names that they have in `result`; what is no learner has no episodes.
        tests: the protocols.
        result: the card.
    """
    drawn: dict[str, Any] = {"figures": recipe.figures(learners)}
    if any(isinstance(learner, Learner) for learner in learners.values()):
        for name, draw in (("episodes", _drawn_tasks), ("fits", _drawn_fits), ("attention", _drawn_attention)):
            drawn[name] = draw(learners, tests, result)
    return drawn


def _drawn_tasks(
    learners: Mapping[str, Learner], tests: Mapping[str, TaskSource], result: Mapping[str, Any]
) -> list[Episode]:
    """The first test tasks of the first protocol, and what the learners answer that were scored under it.

    Args:
        learners: by the names that they have in `result`.
        tests: the protocols.
        result: the card.
    """
    protocol, source = next(iter(tests.items()))
    able = [
        name for name, entry in entries(result).items() if any(m.startswith(f"{protocol}.") for m in entry["metrics"])
    ]
    drawn = {name: learners[name] for name in able[:_DRAWN_LEARNERS] if isinstance(learners.get(name), Learner)}
    if not drawn:
        return []
    return [
        draw_episode(drawn, source.test.draw(task, 1, 0), f"Test task {task} of {protocol}", f"task{task}")
        for task in range(min(_DRAWN, source.test.size or _DRAWN))
    ]


def _drawn_fits(
    learners: Mapping[str, Learner], tests: Mapping[str, TaskSource], result: Mapping[str, Any]
) -> list[Panel]:
    """The first test task of the first protocol, fitted step by step by the learners whose adaptation is in the card.

    None where tasks cannot be drawn as curves.

    Args:
        learners, tests, result: as of `drawings`.
    """
    protocol, source = next(iter(tests.items()))
    able = result.get("adaptation", {"learners": {}})["learners"]
    drawn = {name: each for name, each in learners.items() if name in able and isinstance(each, GradientLearner)}
    if not drawn or source.test.kind != "regression" or not one_dimensional(batch := source.test.draw(0, 1, 0)):
        return []
    numbers = {name: number for number, name in enumerate(entries(result))}
    truth = getattr(source.test, "truth", None)
    known = None if truth is None else partial(truth, 0)
    return [draw_fits(drawn, batch, known, styles=numbers, title=f"Test task 0 of {protocol}, step by step")]


def _drawn_attention(
    learners: Mapping[str, Learner], tests: Mapping[str, TaskSource], result: Mapping[str, Any]
) -> list[Panel]:
    """What queries attend to in the first test task of the first protocol, for every in-context transformer.

    Args:
        learners, tests, result: as of `drawings`.
    """
    protocol, source = next(iter(tests.items()))
    numbers = {name: number for number, name in enumerate(entries(result))}
    able = {
        name: learner
        for name, learner in learners.items()
        if isinstance(learner, InContextTransformer)
        and any(metric.startswith(f"{protocol}.") for metric in entries(result)[name]["metrics"])
    }
    batch = source.test.draw(0, 1, 0) if able else None
    if batch is None or not batch.support.mask.any() or batch.support.y.ndim != 2:
        return []
    return [
        draw_attention(learner, batch, style=numbers[name], title=name, name=f"attention{numbers[name]}")
        for name, learner in list(able.items())[:2]
    ]


def _check_names(contestants: Mapping[str, Contestant]) -> None:
    """Refuse contestants that would share a folder, or take over the weights of one that has none."""
    before: set[str] = set()
    folders: dict[Path, str] = {}
    for name, contestant in contestants.items():
        place = run_folder(Path(), name, 0, len(contestants), 1)
        if place in folders:
            raise ValueError(f"the contestants {folders[place]!r} and {name!r} would share a folder; rename one")
        folders[place] = name
        if contestant.like is not None and (contestant.like not in before or contestant.training is not None):
            raise ValueError(
                f"the contestant {name!r} has like={contestant.like!r}, which must name one that stands before it; and "
                "it is not trained itself"
            )
        before.add(name)


def _rehearse(contestants: Mapping[str, Contestant], tests: dict[str, TaskSource], device: str) -> dict[str, bool]:
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
            old, new = ({**run, **run.get("settings", {})} for run in (before, now))
            changed = [
                f"{key} was {old.get(key)!r}, now {new.get(key)!r}"
                for key in {**old, **new}
                if key != "settings" and old.get(key) != new.get(key)
            ]
            raise ValueError(f"{folder} holds a run with other settings: {'; '.join(changed)}; choose another --out")
        return
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another --out, a folder")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty and holds no run; choose another --out")
    write_text(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
