"""All tasks at once, or first the others and then this one? Joint training against pre-training and fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.evaluation import compare
from quickstudy.learners import FineTuning, FromScratch, LogisticRegression
from quickstudy.recipes.questions.common import DRAWINGS, network, percent, trained
from quickstudy.recipes.recipe import Contestant, Recipe, Role, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, ClassPool, Examples, Split, TaskBatch, TaskSource, omniglot, pad
from quickstudy.tasks.episodes import as_floats

__all__ = ["QuestionOrder"]

_TOGETHER, _TOGETHER_TUNED = "simultaneous, frozen", "simultaneous, fine-tuned"
_APART, _APART_TUNED = "sequential, frozen", "sequential, fine-tuned"
_ALONE = "from scratch"


@recipe
class QuestionOrder(Recipe):
    """A task is to tell the letters of one alphabet apart; the twenty alphabets of the evaluation set are the targets.

    Simultaneous: one network is trained on the drawings of the thirty background alphabets and on the few training
    drawings of all targets. Sequential: on the background alphabets alone, and then on each target's training drawings.
    Both see the same data, and both are used alike: once with the features as they are, read out by logistic regression
    on the target's training drawings, and once with all weights fine-tuned on them.
    """

    name = "question-order"
    claim = "Training on all tasks at once is no worse than pre-training on the others and fine-tuning on the target."
    test_tasks = 20

    @dataclass(frozen=True)
    class Settings:
        """The data and the budget."""

        steps: int = option(400, f"training steps, of {DRAWINGS} drawings each")
        shots: int = option(5, "training drawings of each letter of a target alphabet")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if not 1 <= self.settings.shots <= 15:
            raise ValueError(f"shots must lie in 1 … 15, since there are 20 drawings, got {self.settings.shots}")
        self._pool = omniglot("background")

    def tests(self) -> dict[str, TaskSource]:
        split = _Alphabets(self._pool, self.settings.shots)
        protocol = {**self._pool.protocol, "tasks are": "whole alphabets", "shots": self.settings.shots}
        return {"alphabets": TaskSource(split, split, split, protocol)}

    def contestants(self) -> dict[str, Contestant]:
        background = np.concatenate([self._pool.parts["train"], self._pool.parts["validation"]])
        jointly, with_targets = self._pretraining(np.concatenate([background, self._pool.parts["test"]]))
        apart, without = self._pretraining(background)

        def frozen(classes: Categorical, training: Training, role: Role) -> Contestant:
            return Contestant(lambda: LogisticRegression(network(), classes), training, batch_size=4, role=role)

        def tuned(classes: Categorical, like: str, role: Role) -> Contestant:
            return Contestant(
                lambda: FineTuning(network(), classes, steps=25, tasks_at_once=1), batch_size=4, role=role, like=like
            )

        return {
            _TOGETHER: frozen(with_targets, jointly, "learner"),
            _TOGETHER_TUNED: tuned(with_targets, _TOGETHER, "learner"),
            _APART: frozen(without, apart, "transfer"),
            _APART_TUNED: tuned(without, _APART, "transfer"),
            _ALONE: Contestant(
                lambda: FromScratch(network(), Categorical(60), steps=40, rate=5e-3, tasks_at_once=1),
                batch_size=4,
                role="baseline",
            ),
        }

    def _pretraining(self, classes: NDArray[np.int64]) -> tuple[Training, Categorical]:
        """Training on some classes, of which the targets' show their training drawings only."""
        table = self._pool.table.copy()
        table[self._pool.parts["test"], self.settings.shots :] = -1
        pool = replace(self._pool, table=table, parts={**self._pool.parts, "train": classes})
        return trained(pool.all_classes(DRAWINGS), self.settings.steps, rate=1e-2), Categorical(len(classes))

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = [f"{name} {percent(outcomes[name], 'alphabets')}" for name in outcomes]
        frozen, tuned = (
            compare(outcomes[together].runs("alphabets"), outcomes[apart].runs("alphabets"), "accuracy")
            for together, apart in ((_TOGETHER, _APART), (_TOGETHER_TUNED, _APART_TUNED))
        )
        return (
            f"{'; '.join(parts).capitalize()}. Simultaneous against sequential, with features as they are: {frozen}; "
            f"with all weights fine-tuned: {tuned}."
        )


class _Alphabets(Split):
    """The twenty target alphabets: the first drawings of each letter are the support, the others the query."""

    kind, name = "classification", "test"

    def __init__(self, pool: ClassPool, shots: int) -> None:
        names, rows = pool.classes("test"), pool.table[pool.parts["test"]]
        owner = np.array([name.split("/")[0] for name in names])
        alphabets = [rows[owner == alphabet] for alphabet in dict.fromkeys(owner.tolist())]
        self.size, self.ways = len(alphabets), max(len(letters) for letters in alphabets)
        self._tasks = [(letters[:, :shots], letters[:, shots:]) for letters in alphabets]
        self._examples = pool.examples

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        tasks = [self._tasks[number % len(self._tasks)] for number in range(first, first + count)]
        classes = torch.tensor([[way < len(told) for way in range(self.ways or 0)] for told, _ in tasks])
        support, query = (self._padded([task[part] for task in tasks]) for part in (0, 1))
        return TaskBatch(support, query, classes)

    def _padded(self, letters: list[NDArray[np.int64]]) -> Examples:
        """The examples in the rows `[letter, drawing]` of each task."""
        trees = [
            {
                "x": as_floats(self._examples[torch.from_numpy(rows.ravel())]),
                "y": torch.from_numpy(np.repeat(np.arange(len(rows)), rows.shape[1])),
            }
            for rows in letters
        ]
        both, mask = pad(trees)
        return Examples(both["x"], both["y"], mask)
