"""Does accuracy on new classes grow with the number of classes that one has trained on?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.learners import SimpleShot
from quickstudy.recipes.questions.common import DRAWINGS, network, percent, prototypical, trained, trend
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["QuestionClasses"]

_CLASSES = (50, 100, 200, 500, 1000, 2000)
_EPISODES, _PLAIN = "prototypical", "SimpleShot"


@recipe
class QuestionClasses(Recipe):
    """Nested subsets of the training classes of Omniglot; every contestant sees equally many drawings in training."""

    name = "question-classes"
    claim = "The more classes one has trained on, the better one learns new ones, at the same number of training steps."
    axis = "training classes"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(300, f"training steps, of {DRAWINGS} drawings each")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way1shot": self._pool.episodes(ways, 1, 5) for ways in (20, 5)}

    def contestants(self) -> dict[str, Contestant]:
        everyone: dict[str, Contestant] = {}
        for classes in (*_CLASSES, len(self._pool.classes("train"))):
            pool = self._pool.reduced(classes)
            episodes = trained(pool.episodes(30, 1, 5).train, self.settings.steps)
            everyone[f"{_EPISODES}, {classes}"] = prototypical(episodes, _EPISODES, classes)
        for classes in (_CLASSES[0], _CLASSES[3], len(self._pool.classes("train"))):
            plain = self._pool.reduced(classes).all_classes(DRAWINGS)
            everyone[f"{_PLAIN}, {classes}"] = Contestant(
                partial(_plain, classes),
                trained(plain, self.settings.steps, rate=1e-2),
                role="transfer",
                series=_PLAIN,
                at=classes,
            )
        return everyone

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        plain = [outcome for outcome in outcomes.values() if outcome.series == _PLAIN and outcome.curves]
        learned = [
            f"{percent(outcome, '20way1shot')} with {outcome.at:g}, its loss being {_end(outcome):.0%} of chance"
            for outcome in plain
        ]
        said = trend(outcomes, _EPISODES, "20way1shot", "training classes")
        if not learned:
            return said
        return (
            f"{said} {_PLAIN}, pre-trained over all classes at once, has {'; '.join(learned)}: with many classes plain "
            "pre-training is far from done after as many steps."
        )


def _end(outcome: Outcome) -> float:
    """The last training loss, over the seeds, as a share of that of guessing among the classes."""
    last = [curve[-1]["loss"] for curve in outcome.curves]
    return sum(last) / len(last) / math.log(outcome.at or 2)


def _plain(classes: int) -> SimpleShot:
    return SimpleShot(network(), Categorical(classes))
