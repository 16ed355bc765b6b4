"""What an experiment is: which learners, on which tasks, trained how, judged on what.

A recipe is a class with a `Settings` dataclass, whose fields become options of the command, and two functions:
`tests`, the protocols that everyone is scored on, and `contestants`, who is scored. Running it is not its business.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from quickstudy.reporting import Outcome, Panel
from quickstudy.tasks import Split, TaskSource
from quickstudy.tasks.source import Sampler
from quickstudy.training import Precision, Score

__all__ = ["Contestant", "Recipe", "Role", "Training", "option", "recipe", "recipes"]

Role: TypeAlias = Literal["learner", "transfer", "baseline", "optimum"]


def option(default: Any, help: str) -> Any:
    """A field of a recipe's settings, with what it means."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Training:
    """How a contestant is trained.

    Attributes:
        tasks: the `Split` to train on, or whatever else `fit` takes: of named tasks, their training examples.
        steps: optimizer steps.
        batch_size: tasks per step; of named tasks, examples.
        rate: the highest learning rate of Adam; it rises linearly to that over the first fifth of the steps, then
            falls to nothing along a cosine.
        clip: largest norm of the gradient; None leaves it.
        precision: of the forward pass.
        validation: tasks to choose weights by; None keeps the last ones.
        validation_size: how many of them.
        validations: how many times, spread evenly over the run.
        score: what to choose weights by; the loss by default.
    """

    tasks: Any
    steps: int
    batch_size: int
    rate: float = 1e-3
    clip: float | None = 10.0
    precision: Precision = "32-true"
    validation: Sampler[Any] | None = None
    validation_size: int = 200
    validations: int = 20
    score: Score | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or not self.rate > 0:
            raise ValueError(
                "steps and batch_size (tasks per step) must be at least 1 and rate positive, got "
                f"steps {self.steps}, batch_size {self.batch_size} and rate {self.rate:g}"
            )

    def arguments(self) -> dict[str, Any]:
        """The arguments of `fit`."""
        return {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "optimizer": partial(torch.optim.Adam, lr=self.rate),
            "schedule": self._schedule,
            "clip": self.clip,
            "precision": self.precision,
            "validation": self.validation,
            "validation_size": self.validation_size,
            "validate_every": max(1, self.steps // self.validations),
            "score": self.score,
        }

    def _schedule(self, optimizer: Optimizer) -> LRScheduler:
        rise = max(1, self.steps // 5)

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise))) / 2

        return LambdaLR(optimizer, factor)

    def describe(self) -> dict[str, Any]:
        """For the card."""
        draws = "tasks" if isinstance(self.tasks, Split) else "examples"
        return {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "optimizer": f"Adam, linear to {self.rate}, cosine to 0",
            "clip": self.clip,
            "precision": self.precision,
            "chosen on": f"{self.validation_size} validation {draws}, {self.validations} times"
            if self.validation
            else "last step",
        }


@dataclass(frozen=True)
class Contestant:
    """A learner to be scored.

    Attributes:
        build: makes it, a `Learner`; what is random in it comes from torch's global generator, seeded by the run.
        training: None for those that learn nothing across tasks.
        batch_size: tasks at a time when it is scored.
        role: `learner` when it learns across tasks, `transfer` when it is plainly pre-trained on other tasks' data,
            `baseline` when it looks at one task alone, or at no task, `optimum` when it knows what no learner knows.
        like: another contestant, named before this one, whose trained weights it takes over (of the same seed) instead
            of being trained: one pre-training, several heads.
        series: in a sweep, the curve that it is a point of.
        at: in a sweep, where on the axis it stands (see `Recipe.axis`).
    """

    build: Callable[[], Any]
    training: Training | None = None
    batch_size: int = 32
    role: Role = "learner"
    like: str | None = None
    series: str | None = None
    at: float | None = None


class Recipe(ABC):
    """An experiment. A subclass names it, states what is claimed, and is registered with `@recipe`.

    Class attributes:
        name: as typed on the command line.
        claim: what it is to show, in a sentence.
        main: the contestant that `quickstudy run` trains; None when the comparison itself is the point.
        metric: what contestants are compared by; an instance may set its own.
        axis: for a sweep, what it runs over: what `Contestant.at` counts, or `tests_at`.
        Settings: a dataclass of options, made with `option`.
    """

    name: ClassVar[str]
    claim: ClassVar[str]
    main: ClassVar[str | None] = None
    metric: str = "accuracy"
    axis: ClassVar[str | None] = None
    test_tasks: ClassVar[int] = 600

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = self.Settings() if settings is None else settings

    @abstractmethod
    def tests(self) -> dict[str, TaskSource]:
        """The protocols everyone is scored on, by name (`5way1shot`); the first is the one that is compared."""

    @abstractmethod
    def contestants(self) -> Mapping[str, Contestant]:
        """Who is scored, by name; those that learn across tasks first."""

    def describe_tests(self, tests: Mapping[str, Any]) -> dict[str, Any]:
        """What a reader must know of every protocol, for the card."""
        sizes = {name: source.test.size or self.test_tasks for name, source in tests.items()}
        return {name: tests[name].protocol | {"tasks": min(self.test_tasks, size)} for name, size in sizes.items()}

    def tests_at(self) -> dict[str, float]:
        """For a sweep over tests: where on the axis each stands, by its name."""
        return {}

    def prepare(self, folder: Path, seeds: Sequence[int], device: str) -> None:  # noqa: B027, most need nothing
        """What must be made of all runs together before the first of them; usually nothing. What lies in the folder
        already is not made again.

        Args:
            folder: of the whole run.
            seeds: of training.
            device: as for `fit`.
        """

    def answer(self, outcomes: Mapping[str, Outcome]) -> str | None:
        """What came out, in a sentence or two; None for the usual verdict."""
        return None

    def predictor(self, learner: Any) -> nn.Module | None:
        """What a run leaves beside the weights for `quickstudy predict`: the learner with all that raw data must go
        through. None where the data come ready.
        """
        return None

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        """Figures of its own for the report, from the learners of the first seed."""
        return []

    def describe(self) -> dict[str, Any]:
        """Settings as plain data, for the card."""
        return asdict(self.settings)


_recipes: dict[str, type[Recipe]] = {}


def recipe(cls: type[Recipe]) -> type[Recipe]:
    """Class decorator: the command knows the recipe."""
    _recipes[cls.name] = cls
    return cls


def recipes() -> dict[str, type[Recipe]]:
    """All recipes by name."""
    return dict(_recipes)
