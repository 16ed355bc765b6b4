"""MAML on Omniglot, five ways, one shot."""

from dataclasses import dataclass
from functools import partial

from quickstudy.learners import MAML, Exact, FirstOrder, FromScratch, MetaSGD, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import Conv4
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["OmniglotMAML"]

_WAYS = 5


@recipe
class OmniglotMAML(Recipe):
    """Published (Finn et al., 2017): 98.7 / 99.9 at 5-way 1-shot, 5-shot, after 60,000 steps of 32 tasks."""

    name = "omniglot-maml"
    claim = "A few gradient steps from a learned initialisation tell characters apart that were never seen."
    main = "MAML"

    @dataclass(frozen=True)
    class Settings:
        """A budget that two cores can train."""

        steps: int = option(1600, "training steps")
        tasks: int = option(8, "tasks per step")
        queries: int = option(1, "query examples per class in training")
        inner_steps: int = option(3, "gradient steps on the support")
        inner_rate: float = option(0.2, "their step size")
        first_order: bool = option(False, "leave out second derivatives")
        learn_inner_rates: bool = option(False, "learn a rate for every weight and step (Meta-SGD)")
        adapting: str = option("", "which weights adapt: a regular expression in their names; all by default")
        filters: int = option(32, "channels of the convolutions")
        rate: float = option(3e-3, "highest learning rate")
        normalization: str = option("support", "normalization policy of the network; the paper's is transductive")
        tasks_at_once: int = option(0, "tasks to vectorise over; 1 is a loop, 0 goes by the device")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{_WAYS}way{shots}shot": self._pool.episodes(_WAYS, shots, 15) for shots in (1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen, likelihood = self.settings, Categorical(_WAYS)
        training = partial(
            Training,
            steps=chosen.steps,
            validation=self._pool.episodes(_WAYS, 1, 5).validation,
            validation_size=100,
            validations=5,
        )

        def maml() -> MAML:
            cls = partial(MetaSGD, per_step=True) if chosen.learn_inner_rates else MAML
            return cls(
                Conv4(filters=chosen.filters, normalization=chosen.normalization),
                likelihood,
                chosen.inner_steps,
                chosen.inner_rate,
                meta_gradient=FirstOrder() if chosen.first_order else Exact(),
                adapting=chosen.adapting,
                tasks_at_once=chosen.tasks_at_once or None,
            )

        few, many = self._pool.episodes(_WAYS, 1, chosen.queries).train, self._pool.episodes(60, 1, 2).train
        return {
            "MAML": Contestant(maml, training(few, batch_size=chosen.tasks, rate=chosen.rate), batch_size=16),
            "prototypical": Contestant(
                lambda: PrototypicalNetwork(Conv4(normalization="layer")),
                training(many, batch_size=1, rate=3e-3, precision="bf16-mixed"),
            ),
            **plain_transfer(
                lambda: Conv4(normalization="layer"),
                Training(self._pool.all_classes(180), chosen.steps, 1, 3e-3, precision="bf16-mixed"),
            ),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
            "from scratch": Contestant(
                lambda: FromScratch(Conv4(filters=16, normalization="layer"), likelihood, steps=30, rate=3e-3),
                role="baseline",
            ),
        }
