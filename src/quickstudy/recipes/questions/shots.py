"""Must one train with the ways and shots that one will be asked for?"""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.evaluation import compare
from quickstudy.learners import InContextTransformer
from quickstudy.recipes.questions.common import DRAWINGS, network, percent, prototypical, trained
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome, best_of
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["QuestionShots"]

_TESTS = ((5, 1), (5, 2), (5, 5), (5, 10), (20, 1), (20, 5), (20, 10))


@recipe
class QuestionShots(Recipe):
    """Ways and shots of training against ways and shots of the test, at 150 to 180 drawings a training step.

    A method with an output layer has no answer beyond the ways that it was trained for: n/a.
    """

    name = "question-shots"
    claim = "More ways in training help at any number of ways; the shots of training should match those of the test."
    axis = "shots in the test"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(300, "training steps, of 150 to 180 drawings each")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way{shots}shot": self._pool.episodes(ways, shots, 5) for ways, shots in _TESTS}

    def tests_at(self) -> dict[str, float]:
        return {f"{ways}way{shots}shot": shots for ways, shots in _TESTS}

    def contestants(self) -> dict[str, Contestant]:
        steps = self.settings.steps

        def prototypes(ways: int, shots: int | tuple[int, int], episode: int) -> Contestant:
            return prototypical(trained(self._pool.episodes(ways, shots, 5).train, steps, DRAWINGS // episode))

        return {
            "trained 5-way 1-shot": prototypes(5, 1, 30),
            "trained 5-way 5-shot": prototypes(5, 5, 50),
            "trained 30-way 1-shot": prototypes(30, 1, 180),
            "trained 18-way 5-shot": prototypes(18, 5, 180),
            "trained 16-way 1…10-shot": prototypes(16, (1, 10), 180),
            "in-context, trained 5-way 1…10-shot": Contestant(
                # With layer normalization, attention does not begin to work within so few steps.
                lambda: InContextTransformer(network("support"), Categorical(5), layers=2),
                trained(self._pool.episodes(5, (1, 10), 5).train, steps, 3, rate=1e-3),
            ),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        for ways, shots in ((5, 1), (5, 10), (20, 1), (20, 10)):
            protocol = f"{ways}way{shots}shot"
            able = [name for name, outcome in outcomes.items() if protocol in outcome.scores[0]]
            best = best_of(outcomes, able, protocol, "accuracy")
            parts.append(f"at {protocol} best {best} ({percent(outcomes[best], protocol)})")
        wide = compare(
            outcomes["trained 30-way 1-shot"].runs("5way1shot"),
            outcomes["trained 5-way 1-shot"].runs("5way1shot"),
            "accuracy",
        )
        return f"{', '.join(parts).capitalize()}. Training with 30 rather than 5 ways, at 5way1shot: {wide}."
