"""When some classes have many examples and most have few: draw classes uniformly, or in proportion to their size?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quickstudy.evaluation import compare
from quickstudy.recipes.questions.common import DRAWINGS, prototypical, trained
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import ClassPool, TaskSource, omniglot
from quickstudy.tasks.source import SPLITS

__all__ = ["QuestionLongTail"]

_HELD_OUT = 8  # drawings of every training class that only tests show
_GROUPS = {"head": (10, 99), "medium": (4, 9), "tail": (1, 3)}  # by the training examples that a class has
_EPISODES, _SIZES = "uniform", "proportional"


@recipe
class QuestionLongTail(Recipe):
    """Class sizes follow Zipf's law from the 40th class on; head, medium and tail are scored on held-out drawings.

    Each test draws its classes from one group, so a group is told apart within itself; `new` classes are those of the
    usual test split.
    """

    name = "question-long-tail"
    claim = "Drawing classes uniformly serves the tail better than drawing them in proportion to their size."

    @dataclass(frozen=True)
    class Settings:
        """The data and the budget."""

        steps: int = option(300, f"training steps, of {DRAWINGS} drawings each")
        exponent: float = option(1.0, "of Zipf's law, by which few classes are large and most are small")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        whole = omniglot()
        self._held, kept = _parted(whole)
        self._pool = kept.reduced(1000).long_tailed(self.settings.exponent, 2, head=40)

    def tests(self) -> dict[str, TaskSource]:
        sizes = (self._pool.table[self._pool.parts["train"]] >= 0).sum(1)
        names = self._pool.classes("train")
        tests = {}
        for group, (least, most) in _GROUPS.items():
            members = [name for name, size in zip(names, sizes, strict=True) if least <= size <= most]
            if len(members) < 20:
                raise ValueError(
                    f"exponent is {self.settings.exponent}, which leaves {len(members)} {group} classes of {least} to "
                    f"{most} examples; tests take 20"
                )
            tests[group] = self._held.only("test", members).episodes(20, 1, 5)
        tests["new"] = self._pool.episodes(20, 1, 5)
        return tests

    def contestants(self) -> dict[str, Contestant]:
        def training(sampling: str) -> Contestant:
            # One query of each class, as the smallest have two examples: both see the same number of drawings.
            episodes = self._pool.episodes(DRAWINGS // 2, 1, 1, class_sampling=sampling)  # type: ignore[arg-type]
            tasks = episodes.train
            return prototypical(trained(tasks, self.settings.steps))

        return {_EPISODES: training("uniform"), _SIZES: training("proportional")}

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        for group in (*_GROUPS, "new"):
            found = compare(outcomes[_EPISODES].runs(group), outcomes[_SIZES].runs(group), "accuracy")
            parts.append(f"{group} classes: {found}")
        return "Uniform against proportional sampling of classes. " + "; ".join(parts) + "."


def _parted(pool: ClassPool) -> tuple[ClassPool, ClassPool]:
    """The training classes with held-out drawings only, as a test split; and the pool without those drawings."""
    order = np.random.default_rng(0).permutation(pool.table.shape[1])
    held, kept = order[:_HELD_OUT], order[_HELD_OUT:]
    nothing = np.zeros(0, dtype=np.int64)
    parts = {**dict.fromkeys(SPLITS, nothing), "test": pool.parts["train"]}
    table = pool.table.copy()
    table[pool.parts["train"]] = -1
    table[pool.parts["train"], : len(kept)] = pool.table[pool.parts["train"]][:, kept]
    protocol = {**pool.protocol, "held out": f"{_HELD_OUT} drawings of each training class"}
    only_held = ClassPool(pool.examples, pool.table[:, held], pool.names, parts, pool.groups, protocol)
    return only_held, ClassPool(pool.examples, table, pool.names, pool.parts, pool.groups, protocol)
