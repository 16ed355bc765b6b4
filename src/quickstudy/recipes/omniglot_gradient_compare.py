"""The optimization-based family on Omniglot, five ways, beside prototypes and plain transfer, at an equal budget."""

from dataclasses import dataclass
from functools import partial

from quickstudy.learners import R2D2, MetaOptNet, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import Conv4
from quickstudy.recipes.gradient_learners import InnerLoops
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["OmniglotGradientCompare"]

_WAYS = 5
_SHOTS = (1, 5, 10)


@recipe
class OmniglotGradientCompare(Recipe):
    """Everyone takes the same number of training steps and sees the same drawings in each: 5-way 1-shot tasks.

    Scored at 1 to 10 shots, on the same tasks. Published after 60,000 steps of 32 tasks, 5-way 1-shot: MAML 98.7
    (Finn et al., 2017), MAML++ 99.5 (Antoniou et al., 2019).
    """

    name = "omniglot-gradient-compare"
    claim = "At an equal and small budget, learned initialisations tell new characters apart, at other shots too."
    axis = "shots"
    test_tasks = 300  # ten shots with an inner loop take as long to score as the training

    @dataclass(frozen=True)
    class Settings:
        """A budget that two cores can train."""

        steps: int = option(600, "training steps")
        tasks: int = option(8, "tasks per step, of 5 support drawings and as many queries")
        inner_steps: int = option(3, "gradient steps on the support")
        inner_rate: float = option(0.2, "their step size")
        filters: int = option(16, "channels of the convolutions")
        normalization: str = option("support", "normalization policy of the networks that adapt")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{_WAYS}way{shots}shot": self._pool.episodes(_WAYS, shots, 5) for shots in _SHOTS}

    def tests_at(self) -> dict[str, float]:
        return {f"{_WAYS}way{shots}shot": shots for shots in _SHOTS}

    def contestants(self) -> dict[str, Contestant]:
        chosen, episodes = self.settings, self._pool.episodes(_WAYS, 1, 1).train
        drawings = 2 * _WAYS * chosen.tasks

        def network(normalization: str = chosen.normalization) -> Conv4:
            return Conv4(filters=chosen.filters, normalization=normalization)  # type: ignore[arg-type]

        def layered() -> Conv4:
            return network("layer")

        loops = InnerLoops(
            network,
            Categorical(_WAYS),
            chosen.inner_steps,
            chosen.inner_rate,
            chosen.steps,
            context=network,
            place="normalizations.2",
            more={"CAVIA": {"contexts": 50, "inner_rate": 1.0}},
        )
        training = Training(episodes, chosen.steps, chosen.tasks, 3e-3)
        return {
            **{name: Contestant(partial(loops[name], None), training, batch_size=16) for name in loops.names()},
            "R2-D2": Contestant(lambda: R2D2(layered(), Categorical(_WAYS)), training),
            "MetaOptNet": Contestant(lambda: MetaOptNet(layered()), training),
            "prototypical": Contestant(lambda: PrototypicalNetwork(layered()), training),
            **plain_transfer(layered, Training(self._pool.all_classes(drawings), chosen.steps, 1, 3e-3)),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
        }
