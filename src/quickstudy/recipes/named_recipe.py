"""What an experiment on named tasks is: which modules, on which tasks, how their losses become gradients."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from quickstudy.evaluation import HIGHER_IS_BETTER
from quickstudy.multitask import NamedSplit, NamedTasks, Objective, SharedSplit
from quickstudy.multitask.module import Objectives
from quickstudy.recipes.recipe import Contestant, Recipe
from quickstudy.reporting import Panel, gate_panels
from quickstudy.tasks.source import Sampler
from quickstudy.training import Backward, Sum

__all__ = ["NamedContestant", "NamedRecipe", "NamedTest", "summed", "tuned"]

_SHOWN_ALONE = 12  # with more tasks than that, no reader looks at each


@dataclass(frozen=True)
class NamedContestant(Contestant):
    """A module for named tasks, to be scored. `build` makes a `NamedModule`; its training may be on a split of its own.

    Attributes:
        backward: makes, from the module, what turns its losses into gradients; None for their mean.
        candidates: settings of which the one that is best on the validation split is taken, in every run anew.
        watched: how many times, spread evenly over its training, the cosines of the tasks' gradients are measured (of
            candidates they are not).
    """

    backward: Callable[[nn.Module], Backward] | None = None
    candidates: Mapping[str, "NamedContestant"] = field(default_factory=dict)
    watched: int = 0


def tuned(candidates: Mapping[str, NamedContestant]) -> NamedContestant:
    """One contestant of several settings: each is trained, and the validation split chooses.

    Raises:
        ValueError: there is no candidate, or one that is to be tuned itself.
    """
    if not candidates or any(candidate.candidates for candidate in candidates.values()):
        raise ValueError(f"candidates must be one or more plain contestants, got {', '.join(candidates) or 'none'}")
    return replace(next(iter(candidates.values())), candidates=dict(candidates))


def summed(_: nn.Module) -> Backward:
    """For `NamedContestant.backward`: the plain sum of the losses, with the weights that they have."""
    return Sum()


@dataclass(frozen=True)
class NamedTest:
    """What is scored under one name: the metric of one task, or of all.

    Attributes:
        test: the split.
        metric: the metric of its tasks.
        tasks: of which tasks.
        each: whether every task is a number of its own, rather than the mean one number.
        protocol: what a reader must know, for the card.
        score: from the module to the number, where it is none of the tasks' own metrics: what is true and not in the
            data, say. None for those.
    """

    test: Sampler[Any]
    metric: str
    tasks: tuple[str, ...]
    each: bool
    protocol: dict[str, Any]
    score: Callable[[Any], float] | None = None


class NamedRecipe(Recipe):
    """An experiment on named tasks. What other recipes call a protocol is here a task, scored by its own metric.

    A run gives one number for a task, that of its whole test split, and intervals are over runs. Where all tasks have
    one metric their mean stands first, as `all`. With more than twelve tasks there is `all` alone, with a
    number for every task, and intervals are over tasks and runs.
    """

    @abstractmethod
    def data(self) -> NamedTasks:
        """What everyone is chosen and tested on, and trained unless a contestant brings a split of its own."""

    @abstractmethod
    def objectives(self) -> Objectives:
        """What is predicted of every task, and its metric."""

    @cached_property
    def tasks(self) -> NamedTasks:
        """The data, read once."""
        return self.data()

    @property
    def metrics(self) -> dict[str, str]:
        """Of every task."""
        given = self.objectives()
        return {task: (one if isinstance(one, Objective) else Objective(one)).metric for task, one in given.items()}

    def tests(self) -> dict[str, NamedTest]:  # type: ignore[override]
        metrics, data = self.metrics, self.tasks
        if "all" in metrics:
            raise ValueError("no task may be called 'all', which is the name of the mean over tasks")

        def sizes(task: str | None = None) -> dict[str, int | None]:
            splits = {"training": data.train, "validation": data.validation, "test": data.test}
            return {f"{name} examples": _examples(split, task) for name, split in splits.items()}

        alike, many = len(set(metrics.values())) == 1 and len(metrics) > 1, len(metrics) > _SHOWN_ALONE
        tests: dict[str, NamedTest] = {}
        if alike:
            metric, names = next(iter(metrics.values())), tuple(metrics)
            about = {"what": "every task" if many else "the mean over tasks", "metric": metric, **sizes()}
            tests["all"] = NamedTest(data.test, metric, names, many, {**about, "tasks": len(names)})
        if not (alike and many):
            for task, metric in metrics.items():
                about = {"what": "one task", "metric": metric, **sizes(task)}
                tests[task] = NamedTest(data.test, metric, (task,), True, {**about, "tasks": 1})
        return tests

    def describe_tests(self, tests: Mapping[str, Any]) -> dict[str, Any]:
        return {name: test.protocol for name, test in tests.items()}

    def merit(self, scores: Mapping[str, float]) -> float:
        """By what candidates are chosen, from the metrics on the validation split; high is good.

        Raises:
            ValueError: metrics differ, so that their mean means nothing; a recipe must say what to choose by.
        """
        metrics = set(self.metrics.values())
        if len(metrics) > 1:
            raise ValueError(f"{self.name} has tasks with different metrics; it must define merit() to choose by")
        sign = 1 if HIGHER_IS_BETTER[metrics.pop()] else -1
        return sign * sum(scores.values()) / len(scores)

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        """What the gates of those that have any let through, on the test split."""
        found = [
            gate_panels(module, self.tasks.test, title=name, name=f"gates{number}")
            for number, (name, module) in enumerate(learners.items())
        ]
        return [panel for panels in found for panel in panels]


def _examples(split: Any, task: str | None) -> int | None:
    """How many there are in a split, or how many with a target of the task."""
    if task is not None and isinstance(split, SharedSplit):
        return int(split.mask[task].sum())
    if task is not None and isinstance(split, NamedSplit):
        return len(split.data[task][0])
    return getattr(split, "size", None)
