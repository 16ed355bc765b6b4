"""Fewer tasks to learn from: the same training with a quarter and a sixteenth of its classes, or of its tasks.

How much a method gains from more tasks is what learning across tasks is about, and what it does with few of them is
what people with few related problems must know.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils._pytree import tree_map

from quickstudy.evaluation import Probe, interval
from quickstudy.recipes.one_run import OneRun
from quickstudy.recipes.recipe import Contestant, Recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import AllClasses, Episodes, Split, TaskBatch, TaskSource

__all__ = ["SHARES", "FewTasks", "fewest_tasks", "probe_fewer_tasks", "with_fewer_tasks"]

SHARES = (1.0, 1 / 4, 1 / 16)
ENDLESS = 256
"""Of a stream without an end there is no quarter: it counts as this many tasks."""


class FewTasks(Split):
    """The first tasks of a stream, again and again.

    Args:
        split: the stream.
        limit: how many different tasks there are.

    Raises:
        ValueError: there is not even one.
    """

    def __init__(self, split: Split, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self.split, self.limit = split, limit
        self.name, self.kind, self.ways, self.size = split.name, split.kind, split.ways, limit
        self._drawn: tuple[int, TaskBatch] | None = None  # the seed, and what it gave, which is always the same

    def to(self, device: object) -> "FewTasks":
        """The same tasks on `device`."""
        return FewTasks(self.split.to(device), self.limit)

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The draws `first` … `first + count − 1`: draw n is the task n modulo the limit."""
        # Tasks of one call are padded alike, those of two calls may not be: draw them all at once and choose.
        if self._drawn is None or self._drawn[0] != seed:
            self._drawn = seed, self.split.draw(0, self.limit, seed)
        chosen = torch.arange(first, first + count) % self.limit
        return tree_map(lambda leaf: leaf[chosen.to(leaf.device)], self._drawn[1])


def with_fewer_tasks(contestant: Contestant, share: float) -> Contestant:
    """The same contestant, trained for as many steps on a share of the training classes, or of the training tasks.

    Episodes are made of fewer classes, but of as many as an episode has ways at least; of a finite collection the first
    tasks are kept, and of a stream without an end the first `share` · 256.

    Raises:
        ValueError: it is not trained, or the share is not above 0 and at most 1.
    """
    if contestant.training is None:
        raise ValueError("this contestant learns nothing across tasks; there are no training tasks to take from it")
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    tasks = contestant.training.tasks
    fewer: Split
    if isinstance(tasks, Episodes):
        fewer = tasks.with_classes(max(tasks.ways or 1, round(share * len(tasks.names))))
    else:
        fewer = FewTasks(tasks, max(1, round(share * (tasks.size or ENDLESS))))
    return replace(contestant, training=replace(contestant.training, tasks=fewer))


def probe_fewer_tasks(
    recipe: Recipe,
    contestants: Mapping[str, Contestant],
    outcomes: dict[str, Outcome],
    tests: dict[str, TaskSource],
    seed: int,
    folder: Path,
    device: str,
) -> None:
    """Train the first-named learner that is trained on fewer tasks, and add what comes of it to its probes."""
    name = fewest_tasks(contestants)
    protocol = next(iter(outcomes[name].scores[0]))
    values = [outcomes[name].scores[0][protocol]]
    sizes = [_size(contestants[name])]
    for share in SHARES[1:]:
        place = folder / "fewer-tasks" / f"{share:g}"
        fewer = with_fewer_tasks(contestants[name], share)
        sizes.append(_size(fewer))
        one = OneRun(recipe, name, fewer, seed, place, device)
        values.append(one.finish({protocol: tests[protocol]})[1][protocol])
    means = tuple(interval(scores.values[recipe.metric]) for scores in values)
    kind = "classes" if isinstance(contestants[name].training.tasks, Episodes) else "tasks"  # type: ignore[union-attr]
    # What was trained on in fact: an episode has ways that no share can go below.
    axis = f"training {kind}" + ("" if sizes[0] < math.inf else f" (of an endless stream, {ENDLESS} stand for all)")
    levels = tuple(float(min(size, ENDLESS)) if sizes[0] == math.inf else size for size in sizes)
    outcomes[name].probes.append(Probe("fewer training tasks", axis, levels, "training tasks", means))


def fewest_tasks(contestants: Mapping[str, Contestant]) -> str:
    """The first-named learner that is trained, if its tasks can be made fewer.

    Raises:
        ValueError: there is none, or it is trained on all classes at once.
    """
    name = next((name for name, each in contestants.items() if each.training and each.role == "learner"), None)
    if name is None:
        raise ValueError("no learner of this recipe is trained across tasks; leave out --probes")
    if isinstance(contestants[name].training.tasks, AllClasses):  # type: ignore[union-attr]
        raise ValueError(f"{name} is trained on all classes at once, not on tasks; leave out --probes")
    return name


def _size(contestant: Contestant) -> float:
    """How many classes, or tasks, it is trained on."""
    assert contestant.training is not None
    tasks = contestant.training.tasks
    if isinstance(tasks, Episodes):
        return len(tasks.names)
    return math.inf if tasks.size is None else tasks.size
