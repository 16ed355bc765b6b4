"""What each way of taking the meta-gradient costs in memory, how far it is off, and what that does to the score."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from quickstudy.evaluation import compare, meta_gradient, meta_gradient_error, peak_memory
from quickstudy.learners import MAML, EvolutionStrategies, Exact, FirstOrder, Implicit, MetaGradient, Truncated
from quickstudy.networks import MLP
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Gaussian, TaskSource, sinusoids

__all__ = ["MetaGradientMemory"]

_EXACT = "exact"


@recipe
class MetaGradientMemory(Recipe):
    """MAML on sinusoids, trained with every meta-gradient at an equal number of steps; peak memory of a training step
    and the angle to the exact gradient are measured on a network before training.

    Evolution strategies see losses alone: with as many weights as here their gradient is mostly noise. The implicit
    gradient sees where the inner loop ends and not how it got there, so nothing keeps the loop from overshooting: there
    its steps have half the size.
    """

    name = "meta-gradient-memory"
    claim = "Cheaper meta-gradients need less memory, and what they leave out costs little accuracy."
    metric = "mse"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(1000, "training steps")
        tasks: int = option(25, "tasks per step")
        inner_steps: int = option(10, "gradient steps on the support")
        inner_rate: float = option(0.01, "their step size, on the mean squared error")

    def tests(self) -> dict[str, TaskSource]:
        return {"10shot": sinusoids(10, queries=50)}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        training = Training(sinusoids(10, queries=10).train, chosen.steps, chosen.tasks, 2e-3)
        return {
            name: Contestant(partial(self._learner, way, chosen.inner_steps), training, 100)
            for name, way in self._ways().items()
        }

    def _ways(self) -> dict[str, MetaGradient]:
        return {
            _EXACT: Exact(),
            "recomputed": Exact(checkpoint=True),
            "truncated to 1 step": Truncated(1),
            "first order": FirstOrder(),
            "implicit": Implicit(pull=1.0, iterations=5),
            "evolution strategies": EvolutionStrategies(pairs=4),
        }

    def _learner(self, way: MetaGradient, steps: int) -> MAML:
        rate = self.settings.inner_rate / (2 if isinstance(way, Implicit) else 1)
        return MAML(MLP(1, (40, 40)), Gaussian(), steps, rate, meta_gradient=way)

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        batch, steps = sinusoids(10, queries=10).train.draw(0, self.settings.tasks, 0), self.settings.inner_steps
        parts = []
        for name, way in self._ways().items():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                few, many = self._learner(way, 1), self._learner(way, steps)
                needed = [peak_memory(partial(meta_gradient, learner, batch)) / 2**20 for learner in (few, many)]
                error = meta_gradient_error(many, batch, draws=8 if isinstance(way, EvolutionStrategies) else 1)
            against = ""
            if name != _EXACT:
                found = compare(outcomes[name].runs("10shot"), outcomes[_EXACT].runs("10shot"), "mse")
                against = f", against exact {found}"
            parts.append(
                f"{name}: {needed[0]:.2f} MiB at 1 inner step, {needed[1]:.2f} at {steps}; cosine to exact "
                f"{float(error.cosine.mean()):.3f}{against}"
            )
        return "; ".join(parts) + "."
