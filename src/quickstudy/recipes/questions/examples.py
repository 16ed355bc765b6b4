"""Does accuracy on new classes grow with the examples of each training class, or does it take more classes?"""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.evaluation import compare
from quickstudy.recipes.questions.common import DRAWINGS, prototypical, trained, trend
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import TaskSource, omniglot

__all__ = ["QuestionExamples"]

_EXAMPLES = (2, 5, 10, 20)
_FEWER_EXAMPLES, _FEWER_CLASSES = "all classes, fewer examples", "all examples, fewer classes"


@recipe
class QuestionExamples(Recipe):
    """The same number of training drawings, saved on examples of each class or on classes, at equal training steps.

    Episodes show 180 drawings in both; with two and five examples of a class these are of 90 and 36 classes, and of 30
    otherwise.
    """

    name = "question-examples"
    claim = "A given number of labelled drawings is better spent on many classes than on many examples of each."
    axis = "examples per training class (or as many drawings)"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(300, f"training steps, of about {DRAWINGS} drawings each")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way1shot": self._pool.episodes(ways, 1, 5) for ways in (20, 5)}

    def contestants(self) -> dict[str, Contestant]:
        everyone: dict[str, Contestant] = {}
        classes, most = len(self._pool.classes("train")), _EXAMPLES[-1]
        for examples in _EXAMPLES:
            # With two examples of a class there is one query of it, so an episode takes more classes.
            queries = min(examples - 1, 5)
            episodes = self._pool.reduced(examples=examples).episodes(DRAWINGS // (1 + queries), 1, queries).train
            everyone[f"{examples} of each"] = prototypical(
                trained(episodes, self.settings.steps), _FEWER_EXAMPLES, examples
            )
        for examples in _EXAMPLES[:-1]:
            pool = self._pool.reduced(round(classes * examples / most))
            everyone[f"{most} of {len(pool.classes('train'))}"] = prototypical(
                trained(pool.episodes(30, 1, 5).train, self.settings.steps), _FEWER_CLASSES, examples
            )
        return everyone

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        for many, few in zip(*(_named(outcomes, series) for series in (_FEWER_EXAMPLES, _FEWER_CLASSES)), strict=False):
            found = compare(outcomes[many].runs("20way1shot"), outcomes[few].runs("20way1shot"), "accuracy")
            parts.append(f"{many} class against {few} classes, {found}")
        said = trend(outcomes, _FEWER_EXAMPLES, "20way1shot", "examples of each training class")
        return f"Of equally many drawings, at 20way1shot: {'; '.join(parts)}. {said}"


def _named(outcomes: Mapping[str, Outcome], series: str) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.series == series]
