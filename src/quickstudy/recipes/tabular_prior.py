"""A learner for tables that has seen no real one: a transformer trained on tables of random mechanisms alone."""

from dataclasses import dataclass

from quickstudy.learners import FromScratch, InContextTransformer, NearestNeighbour
from quickstudy.networks import TableNetwork
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, Gaussian, GaussianMixture, Likelihood, TaskSource, tabular_prior

__all__ = ["TabularPrior"]

_WAYS = 10
_COMPONENTS = 5


@recipe
class TabularPrior(Recipe):
    """The weights that come with `quickstudy.estimators` are those of `quickstudy run tabular-prior`.

    They are judged on real tables by `benchmarks/tables.py`.
    """

    name = "tabular-prior"
    claim = "A transformer that has read many random tables predicts in a new one better than what learns it alone."
    main = "in-context"

    @dataclass(frozen=True)
    class Settings:
        """A network of two megabytes, trained for three quarters of an hour on one core."""

        kind: str = option("classification", "classification or regression")
        features: int = option(24, "the most columns of a table")
        steps: int = option(12_000, "training steps")
        tasks: int = option(8, "tables per step")
        rate: float = option(1e-3, "highest learning rate")
        width: int = option(96, "of a token")
        layers: int = option(4, "of the transformer")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        kind, most = self.settings.kind, self.settings.features
        self._source = tabular_prior(kind, (min(2, most), most), ways=(2, _WAYS))
        self.metric = "accuracy" if kind == "classification" else "mse"

    def tests(self) -> dict[str, TaskSource]:
        return {"prior": self._source}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        sorted_out = chosen.kind == "classification"
        likelihood: Likelihood = Categorical(_WAYS) if sorted_out else GaussianMixture(_COMPONENTS)
        training = Training(self._source.train, chosen.steps, chosen.tasks, chosen.rate, clip=1.0)

        def network() -> TableNetwork:
            return TableNetwork(chosen.features, chosen.width)

        return {
            "in-context": Contestant(
                lambda: InContextTransformer(network(), likelihood, chosen.width, chosen.layers, heads=4), training
            ),
            "nearest neighbour": Contestant(
                lambda: NearestNeighbour(likelihood=None if sorted_out else Gaussian(), neighbours=5), role="baseline"
            ),
            "from scratch": Contestant(
                lambda: FromScratch(network(), likelihood, steps=100, rate=1e-2, weight_decay=0.01), role="baseline"
            ),
        }
