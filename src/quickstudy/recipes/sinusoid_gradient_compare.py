"""Every learner with an inner loop on sinusoids, after 0, 1, 5 and 10 gradient steps on 5 and on 10 points."""

from dataclasses import dataclass
from functools import partial

from quickstudy.evaluation import SinusoidOracle
from quickstudy.learners import R2D2, FineTuning, FromScratch, RidgeRegression
from quickstudy.networks import MLP
from quickstudy.recipes.gradient_learners import InnerLoops
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Gaussian, TaskSource, sinusoids

__all__ = ["SinusoidGradientCompare"]

_AFTER = (0, 1, 5, 10)
_CONTEXTS = 5


@recipe
class SinusoidGradientCompare(Recipe):
    """One training each, of 10 points and 5 inner steps, beside plain transfer, training from scratch and the
    Bayes-optimal floor.

    The network is an MLP of 40 and 40 (Finn et al., 2017). Implicit MAML takes three times the inner steps, since it
    needs to come near a minimum. R2-D2 has no steps to count.
    """

    name = "sinusoid-gradient-compare"
    claim = "After a few gradient steps from where they learned to begin, learners know a sinusoid from ten points."
    metric = "mse"
    axis = "gradient steps"

    @dataclass(frozen=True)
    class Settings:
        """25 tasks a step, as in the paper."""

        steps: int = option(3000, "training steps")
        tasks: int = option(25, "tasks per step")
        inner_steps: int = option(5, "gradient steps on the support in training")
        inner_rate: float = option(0.01, "their step size, on the mean squared error")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{shots}shot": sinusoids(shots, queries=50) for shots in (10, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen, source = self.settings, sinusoids(10, queries=10)
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3, validation=sinusoids(10).validation)
        loops = InnerLoops(
            lambda: MLP(1, (40, 40)),
            Gaussian(),
            chosen.inner_steps,
            chosen.inner_rate,
            chosen.steps,
            context=lambda: MLP(1 + _CONTEXTS, (40, 40)),
            # Rates of their own: a context begins at zero and is all that moves; the implicit gradient sees where the
            # loop ends and not how it got there, so nothing but shorter steps keeps the loop from overshooting.
            more={
                "CAVIA": {"inner_rate": 0.5, "contexts": _CONTEXTS},
                "implicit MAML": {"inner_rate": chosen.inner_rate / 4},
                # As published, one rate for each weight. With rates for every step, those of the last would be taken
                # for all steps beyond training's, where a loop exploded.
                "Meta-SGD": {"per_step": False},
            },
        )
        entered = {}
        for name in loops.names():
            trained = f"{name}, {chosen.inner_steps} steps"
            made = loops[name]
            entered[trained] = Contestant(
                partial(made, chosen.inner_steps), training, 100, series=name, at=chosen.inner_steps
            )
            for after in _AFTER:
                if after != chosen.inner_steps:
                    entered[f"{name}, {after} steps"] = Contestant(
                        partial(made, after), batch_size=100, like=trained, series=name, at=after
                    )
        return {
            **entered,
            "R2-D2": Contestant(lambda: R2D2(MLP(1, (40, 40)), Gaussian()), training, 100),
            "ridge regression": Contestant(
                lambda: RidgeRegression(MLP(1, (40, 40)), Gaussian()), training, 100, role="transfer"
            ),
            "fine-tuning": Contestant(
                lambda: FineTuning(MLP(1, (40, 40)), Gaussian(), steps=100, rate=1e-2),
                batch_size=100,
                role="transfer",
                like="ridge regression",
            ),
            "from scratch": Contestant(
                lambda: FromScratch(MLP(1, (40, 40)), Gaussian(), steps=500, rate=1e-2), batch_size=100, role="baseline"
            ),
            "Bayes-optimal": Contestant(SinusoidOracle, batch_size=100, role="optimum"),
        }
