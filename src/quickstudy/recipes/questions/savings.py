"""How many examples does learning across tasks save?"""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.learners import FromScratch, LogisticRegression, NearestNeighbour
from quickstudy.networks import Conv4
from quickstudy.recipes.questions.common import DRAWINGS, network, percent, prototypical, trained
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["QuestionSavings"]

_SHOTS = (1, 3, 10)
_PRETRAINED = 500  # training classes that the plainly pre-trained network is trained over


@recipe
class QuestionSavings(Recipe):
    """Accuracy against shots, for learners across tasks and for learning each task alone."""

    name = "question-savings"
    claim = "One example of each class, after learning across tasks, is worth more than ten without."
    axis = "shots"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(300, f"training steps, of {DRAWINGS} drawings each")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"5way{shots}shot": self._pool.episodes(5, shots, 5) for shots in _SHOTS}

    def tests_at(self) -> dict[str, float]:
        return {f"5way{shots}shot": shots for shots in _SHOTS}

    def contestants(self) -> dict[str, Contestant]:
        # Over all 4,112 classes at once plain pre-training would hardly have begun after so few steps.
        steps, every = self.settings.steps, self._pool.reduced(_PRETRAINED).all_classes(DRAWINGS)
        known = Categorical(every.ways)
        return {
            "prototypical": prototypical(trained(self._pool.episodes(30, 1, 5).train, steps)),
            "logistic regression": Contestant(
                lambda: LogisticRegression(network(), known), trained(every, steps, rate=1e-2), role="transfer"
            ),
            "from scratch": Contestant(
                lambda: FromScratch(Conv4(filters=16, normalization="layer"), Categorical(5), steps=30, rate=5e-3),
                batch_size=20,
                role="baseline",
            ),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        target = outcomes["prototypical"].metrics()["5way1shot.accuracy"]
        parts = [f"With one example of each class, prototypical has {percent(outcomes['prototypical'], '5way1shot')}"]
        for name in ("from scratch", "nearest neighbour", "logistic regression"):
            found = {shots: outcomes[name].metrics()[f"5way{shots}shot.accuracy"] for shots in _SHOTS}
            # Other shots are other tasks, which cannot be paired: whether intervals meet is what can be said.
            enough = next((shots for shots, value in found.items() if value.high >= target.low), _SHOTS[-1])
            words = "comes up to that" if found[enough].high >= target.low else "stays below that even"
            parts.append(f"{name} {words} with {enough}: {percent(outcomes[name], f'5way{enough}shot')}")
        return "; ".join(parts) + "."
