"""MAML on sinusoids, beside the best that is possible."""

from dataclasses import dataclass

from quickstudy.evaluation import SinusoidOracle
from quickstudy.learners import (
    MAML,
    CompletePooling,
    Exact,
    FineTuning,
    FirstOrder,
    FromScratch,
    InContextTransformer,
    NearestNeighbour,
    RidgeRegression,
)
from quickstudy.networks import MLP
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Gaussian, TaskSource, sinusoids

__all__ = ["SinusoidMAML"]


@recipe
class SinusoidMAML(Recipe):
    """The regression experiment of Finn et al. (2017), 10 shots, an MLP of 40 and 40."""

    name = "sinusoid-maml"
    claim = "From ten points, a learned initialisation fits a sinusoid that training from scratch cannot."
    main = "MAML"
    metric = "mse"

    @dataclass(frozen=True)
    class Settings:
        """25 tasks a step, as in the paper."""

        steps: int = option(5000, "training steps")
        tasks: int = option(25, "tasks per step")
        shots: int = option(10, "support examples")
        noise: float = option(0.0, "standard deviation of the noise on y")
        inner_steps: int = option(5, "gradient steps on the support")
        inner_rate: float = option(0.01, "their step size, on the mean squared error")
        first_order: bool = option(False, "leave out second derivatives")

    def tests(self) -> dict[str, TaskSource]:
        return {
            f"{shots}shot": sinusoids(shots, queries=50, noise=self.settings.noise)
            for shots in dict.fromkeys((self.settings.shots, 5))
        }

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        source = sinusoids(chosen.shots, queries=chosen.shots, noise=chosen.noise)
        validation = sinusoids(chosen.shots, noise=chosen.noise).validation

        def training(rate: float) -> Training:
            return Training(source.train, chosen.steps, chosen.tasks, rate, validation=validation)

        return {
            "MAML": Contestant(
                lambda: MAML(
                    MLP(1, (40, 40)),
                    Gaussian(),
                    chosen.inner_steps,
                    chosen.inner_rate,
                    meta_gradient=FirstOrder() if chosen.first_order else Exact(),
                ),
                training(2e-3),
                batch_size=100,
            ),
            "in-context": Contestant(
                lambda: InContextTransformer(MLP(1, (64,)), Gaussian(), width=64, layers=3),
                training(1e-3),
                batch_size=100,
            ),
            "ridge regression": Contestant(
                lambda: RidgeRegression(MLP(1, (40, 40)), Gaussian()), training(1e-3), batch_size=100, role="transfer"
            ),
            "fine-tuning": Contestant(
                lambda: FineTuning(MLP(1, (40, 40)), Gaussian(), steps=100, rate=1e-2),
                batch_size=100,
                role="transfer",
                like="ridge regression",
            ),
            "nearest neighbour": Contestant(
                lambda: NearestNeighbour(likelihood=Gaussian(), neighbours=1), batch_size=100, role="baseline"
            ),
            "from scratch": Contestant(
                lambda: FromScratch(MLP(1, (40, 40)), Gaussian(), steps=500, rate=1e-2), batch_size=100, role="baseline"
            ),
            "complete pooling": Contestant(
                lambda: CompletePooling(MLP(1, (40, 40)), Gaussian()), training(1e-3), batch_size=100, role="baseline"
            ),
            "Bayes-optimal": Contestant(lambda: SinusoidOracle(chosen.noise), batch_size=100, role="optimum"),
        }
