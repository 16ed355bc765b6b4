"""Hand-made features and a support vector machine, or a network end to end? It depends on how much data there is."""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.evaluation import compare
from quickstudy.learners import FromScratch, LinearSVM
from quickstudy.networks import Conv4, OrientedGradients
from quickstudy.recipes.questions.common import DRAWINGS, percent, prototypical, trained
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, mnist, omniglot

__all__ = ["QuestionHandMade"]

_SHOTS = (1, 3, 10, 30, 100)
_HAND, _PIXELS, _NETWORK, _OTHERS = "HOG + SVM", "pixels + SVM", "end to end", "prototypical, from letters"


@recipe
class QuestionHandMade(Recipe):
    """Ten-way digit recognition from 1 to 100 examples; support and query of a digit are by different writers.

    The prototypical network was trained on Omniglot and has never seen a digit.
    """

    name = "question-hand-made"
    claim = "Hand-made features win on little data, training end to end on much, and other tasks' data before either."
    axis = "examples of each digit"
    test_tasks = 20

    @dataclass(frozen=True)
    class Settings:
        """The budgets."""

        steps: int = option(300, f"training steps on letters, of {DRAWINGS} drawings each")
        task_steps: int = option(60, "steps of the end-to-end network on the examples of a task")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._digits = mnist(parts={"train": (), "validation": (), "test": tuple("0123456789")})
        self._letters = omniglot(resize="area")

    def tests(self) -> dict[str, TaskSource]:
        return {f"10way{shots}shot": self._digits.episodes(10, shots, 20, separate_groups=True) for shots in _SHOTS}

    def tests_at(self) -> dict[str, float]:
        return {f"10way{shots}shot": shots for shots in _SHOTS}

    def contestants(self) -> dict[str, Contestant]:
        letters = self._letters.episodes(30, 1, 5).train
        return {
            _NETWORK: Contestant(
                lambda: FromScratch(
                    Conv4(filters=16, normalization="layer"),
                    Categorical(10),
                    steps=self.settings.task_steps,
                    rate=5e-3,
                    tasks_at_once=1,
                ),
                batch_size=1,
                role="baseline",
            ),
            _HAND: Contestant(lambda: LinearSVM(OrientedGradients()), batch_size=4, role="baseline"),
            _PIXELS: Contestant(LinearSVM, batch_size=4, role="baseline"),
            _OTHERS: prototypical(trained(letters, self.settings.steps)),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        hand = outcomes[_HAND]
        by_hand, letters = [], []
        for shots in _SHOTS:
            protocol = f"10way{shots}shot"
            found = compare(hand.runs(protocol), outcomes[_NETWORK].runs(protocol), "accuracy")
            by_hand.append(f"with {shots}, {_HAND} {percent(hand, protocol)}, {found}")
            found = compare(outcomes[_OTHERS].runs(protocol), hand.runs(protocol), "accuracy")
            letters.append(f"with {shots}, {found}")
        return (
            f"Of each digit, against a network trained end to end: {'; '.join(by_hand)}. "
            f"Prototypes from letters against {_HAND}: {'; '.join(letters)}."
        )
