"""When the order of examples means nothing, is an average of them better than a network that reads them in turn?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.evaluation import SinusoidOracle, compare
from quickstudy.learners import ConditionalNeuralProcess, Learner, RecurrentLearner
from quickstudy.networks import MLP
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Gaussian, TaskSource, sinusoids

__all__ = ["QuestionSetOrSequence"]

_SHOTS = (2, 5, 10, 20, 40)  # of the tests
_MOST = 10  # in training
_MEAN, _LSTM = "feed forward and average", "LSTM"


@recipe
class QuestionSetOrSequence(Recipe):
    """A conditional neural process and an LSTM on sinusoids, trained with 2 to 10 points and asked with 2 to 40.

    Both keep as many numbers of what they have read, and are trained on the same points for as many steps.
    """

    name = "question-set-or-sequence"
    claim = "Where order means nothing, an average of what is read is better than reading in turn."
    metric = "mse"
    axis = "examples"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(3000, "training steps")
        tasks: int = option(25, "tasks per step")
        width: int = option(64, "numbers that are kept of what was read, and width of all layers")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{shots}shot": sinusoids(shots, queries=50, noise=0.1) for shots in _SHOTS}

    def tests_at(self) -> dict[str, float]:
        return {f"{shots}shot": shots for shots in _SHOTS}

    def contestants(self) -> dict[str, Contestant]:
        chosen, width = self.settings, self.settings.width
        source = sinusoids((min(_SHOTS), _MOST), queries=20, noise=0.1)
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3, validation=source.validation)

        def mean() -> Learner:
            return ConditionalNeuralProcess(MLP(1, (width,)), Gaussian(), context=width, width=width, layers=3)

        def lstm() -> Learner:
            # Half of what an LSTM keeps is its cell, half what the cell shows.
            return RecurrentLearner(MLP(1, (width, width)), Gaussian(), width // 2)

        return {
            _MEAN: Contestant(mean, training, 100),
            _LSTM: Contestant(lstm, training, 100),
            f"{_LSTM}, twice as wide": Contestant(
                lambda: RecurrentLearner(MLP(1, (width, width)), Gaussian(), width), training, 100
            ),
            "Bayes-optimal": Contestant(partial(SinusoidOracle, 0.1), batch_size=100, role="optimum"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        for protocol, shots in self.tests_at().items():
            found = compare(outcomes[_MEAN].runs(protocol), outcomes[_LSTM].runs(protocol), "mse")
            beyond = ", more than in training" if shots > _MOST else ""
            parts.append(f"with {shots:g} examples{beyond}: {found}")
        return f"An average against an LSTM that keeps as many numbers; {'; '.join(parts)}."
