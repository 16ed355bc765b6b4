"""How large must a vector be that says what a task is?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.evaluation import SinusoidOracle, compare
from quickstudy.learners import ConditionalNeuralProcess
from quickstudy.networks import MLP
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Gaussian, TaskSource, sinusoids

__all__ = ["QuestionContextSize"]

_SIZES = (1, 2, 4, 8, 16, 32, 64)


@recipe
class QuestionContextSize(Recipe):
    """Conditional neural processes whose h has 1 to 64 numbers, on sinusoids, which differ in two: amplitude and phase.

    All else is equal: the networks that make h and that read it, steps, tasks, and everyone's points.
    """

    name = "question-context-size"
    claim = "A vector needs a few times as many numbers as tasks differ in, and what is beyond that brings nothing."
    metric = "mse"
    axis = "numbers in h"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(3000, "training steps")
        tasks: int = option(25, "tasks per step")
        shots: int = option(10, "support examples")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{self.settings.shots}shot": sinusoids(self.settings.shots, queries=50, noise=0.1)}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        source = sinusoids(chosen.shots, queries=20, noise=0.1)
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3, validation=source.validation)

        def process(size: int) -> ConditionalNeuralProcess:
            return ConditionalNeuralProcess(MLP(1, (64,)), Gaussian(), context=size, width=64, layers=3)

        return {
            **{
                f"h of {size}": Contestant(partial(process, size), training, 100, series="conditional process", at=size)
                for size in _SIZES
            },
            "Bayes-optimal": Contestant(partial(SinusoidOracle, 0.1), batch_size=100, role="optimum"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        (protocol,) = self.tests()
        names = [f"h of {size}" for size in _SIZES]
        error = {name: outcomes[name].metrics()[f"{protocol}.mse"] for name in [*names, "Bayes-optimal"]}
        best = min(names, key=lambda name: error[name].mean)
        enough = next(
            name
            for name in names
            if name == best or not compare(outcomes[name].runs(protocol), outcomes[best].runs(protocol), "mse").shown
        )
        said = ", ".join(f"{name.removeprefix('h of ')}: {value.mean:.3f}" for name, value in error.items())
        size = enough.removeprefix("h of ")
        return f"Squared error by the numbers in h: {said}. From {size} on no more is shown to help."
