"""Networks that read the support, on Omniglot, beside prototypes and plain transfer, at an equal budget."""

from collections.abc import Callable
from dataclasses import dataclass

from quickstudy.learners import (
    SNAIL,
    AttentiveNeuralProcess,
    ConditionalNeuralProcess,
    InContextTransformer,
    Learner,
    MemoryAugmentedNetwork,
    NearestNeighbour,
    PrototypicalNetwork,
    RecurrentLearner,
)
from quickstudy.networks import Conv4, Policy
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["OmniglotBlackboxCompare", "readers"]

_WAYS = 5


def readers(network: Callable[[], Conv4], ways: int, width: int = 128) -> dict[str, Callable[[], Learner]]:
    """What makes each learner that reads its support, by name.

    Args:
        network: makes the feature extractor.
        ways: classes of a task.
        width: of states, tokens and contexts.
    """
    known = Categorical(ways)
    return {
        "LSTM": lambda: RecurrentLearner(network(), known, width),
        "memory-augmented": lambda: MemoryAugmentedNetwork(network(), known, width, slots=4 * ways, scale=10.0),
        "SNAIL": lambda: SNAIL(network(), known, width // 2, blocks=1, reach=ways + 1),
        "conditional neural process": lambda: ConditionalNeuralProcess(network(), known, width, width),
        "attentive neural process": lambda: AttentiveNeuralProcess(network(), known, width),
        "in-context": lambda: InContextTransformer(network(), known, width, layers=2),
    }


@recipe
class OmniglotBlackboxCompare(Recipe):
    """Everyone takes the same number of training steps and sees as many drawings in each: 5-way 1-shot tasks.

    Published after far longer training, 5-way 1-shot: SNAIL 99.1 (Mishra et al., 2018).
    """

    name = "omniglot-blackbox-compare"
    claim = "At an equal and small budget, networks that must find out how to learn are behind those that compare."

    @dataclass(frozen=True)
    class Settings:
        """A budget that one core can train."""

        steps: int = option(2000, "training steps")
        tasks: int = option(16, "tasks per step, of 5 support drawings and as many queries")
        filters: int = option(16, "channels of the convolutions")
        size: int = option(16, "height and width of the drawings, in pixels")
        rate: float = option(2e-3, "highest learning rate of the networks that read the support")
        normalization: str = option("support", "normalization policy of the networks that read the support")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot(size=self.settings.size, resize="area")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{_WAYS}way1shot": self._pool.episodes(_WAYS, 1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen, episodes = self.settings, self._pool.episodes(_WAYS, 1, 1).train

        def network(normalization: Policy = chosen.normalization) -> Conv4:
            return Conv4(size=chosen.size, filters=chosen.filters, normalization=normalization)

        def layered() -> Conv4:
            return network("layer")

        def training(rate: float) -> Training:
            return Training(episodes, chosen.steps, chosen.tasks, rate)

        every = self._pool.all_classes(2 * _WAYS * chosen.tasks)
        return {
            **{name: Contestant(build, training(chosen.rate)) for name, build in readers(network, _WAYS).items()},
            "prototypical": Contestant(lambda: PrototypicalNetwork(layered()), training(3e-3)),
            **plain_transfer(layered, Training(every, chosen.steps, 1, 3e-3)),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
        }
