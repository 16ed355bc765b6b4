"""The metric family and the plain baselines on Omniglot, trained on equally many drawings, scored on the same tasks."""

from dataclasses import dataclass

from quickstudy.learners import (
    MatchingNetwork,
    NearestNeighbour,
    PrototypicalNetwork,
    RelationNetwork,
    SiameseNetwork,
)
from quickstudy.networks import Conv4, Policy
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Split, TaskSource, omniglot

__all__ = ["OmniglotMetric"]

# Drawings that a training step shows, to episodes and to pre-training alike.
_DRAWINGS = 360


@recipe
class OmniglotMetric(Recipe):
    """Every learner sees the same number of drawings, once, with one shot; one model serves all four protocols.

    The heads on pre-trained features share one pre-training, except Baseline++, whose pre-training differs. Relations
    compare every query with every class, so theirs are small episodes, and many.
    """

    name = "omniglot-metric"
    claim = "Given equally many drawings to train on, learning to compare in episodes beats plain pre-training."

    @dataclass(frozen=True)
    class Settings:
        """Steps are far below what the papers took; the comparison is at an equal and small budget."""

        steps: int = option(400, f"training steps, of {_DRAWINGS} drawings each")
        split: str = option("vinyals", "vinyals or background")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot(self.settings.split)

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way{shots}shot": self._pool.episodes(ways, shots, 5) for ways in (5, 20) for shots in (1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        wide, narrow = self._pool.episodes(60, 1, 5).train, self._pool.episodes(5, 1, 5).train
        every = self._pool.all_classes(_DRAWINGS)

        def training(tasks: Split, batch_size: int = 1, rate: float = 3e-3) -> Training:
            return Training(tasks, self.settings.steps, batch_size, rate, precision="bf16-mixed")

        return {
            "prototypical": Contestant(lambda: PrototypicalNetwork(_network()), training(wide)),
            "matching": Contestant(lambda: MatchingNetwork(_network(), scale=10.0), training(wide)),
            "relation": Contestant(
                lambda: RelationNetwork(_network(pools=2, normalization="running")), training(narrow, 12), 4
            ),
            "Siamese": Contestant(lambda: SiameseNetwork(_network()), training(wide)),
            # Each has the rate that was best for it on validation tasks.
            **plain_transfer(_network, training(every, rate=1e-2), cosine_rate=3e-3),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
        }


def _network(pools: int = 4, normalization: Policy = "layer") -> Conv4:
    return Conv4(normalization=normalization, pools=pools)
