"""Prototypical networks on Omniglot, under the protocol that most papers use."""

from dataclasses import dataclass

from quickstudy.learners import CompletePooling, FromScratch, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import Conv4
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["OmniglotPrototypical"]


@recipe
class OmniglotPrototypical(Recipe):
    """Published (Snell et al., 2017): 98.8 / 99.7 / 96.0 / 98.9 at 5-way 1-shot, 5-shot, 20-way 1-shot, 5-shot."""

    name = "omniglot-prototypical"
    claim = "Prototypical networks on Omniglot come near the published accuracy at a small fraction of its training."
    main = "prototypical"

    @dataclass(frozen=True)
    class Settings:
        """As in the paper, one episode of 60 classes per step; unlike it, one model for all four protocols."""

        steps: int = option(6000, "training episodes")
        ways: int = option(60, "classes per training episode")
        queries: int = option(5, "query examples per class in training")
        rate: float = option(3e-3, "highest learning rate")
        normalization: str = option("layer", "normalization policy of the network")
        split: str = option("vinyals", "vinyals or background")
        resize: str = option("nearest", "nearest or area")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot(self.settings.split, resize=self.settings.resize)

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way{shots}shot": self._pool.episodes(ways, shots, 15) for ways in (5, 20) for shots in (1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        training = Training(
            self._pool.episodes(chosen.ways, 1, chosen.queries).train,
            chosen.steps,
            batch_size=1,
            rate=chosen.rate,
            precision="bf16-mixed",
            validation=self._pool.episodes(20, 1, 5).validation,
            validation_size=100,
            validations=10,
        )
        # Both have an output layer, of 20 classes for the largest protocol.
        likelihood = Categorical(20)
        return {
            "prototypical": Contestant(
                lambda: PrototypicalNetwork(Conv4(normalization=chosen.normalization)), training, batch_size=8
            ),
            **plain_transfer(
                lambda: Conv4(normalization=chosen.normalization),
                Training(
                    self._pool.all_classes(chosen.ways * (1 + chosen.queries)),
                    chosen.steps,
                    1,
                    chosen.rate,
                    precision="bf16-mixed",
                ),
                batch_size=8,
            ),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
            "from scratch": Contestant(
                lambda: FromScratch(Conv4(filters=32, normalization="layer"), likelihood, steps=30, rate=3e-3),
                batch_size=20,
                role="baseline",
            ),
            "complete pooling": Contestant(
                lambda: CompletePooling(Conv4(normalization="layer"), likelihood),
                Training(self._pool.episodes(20, 1, 3).train, 200, 2, precision="bf16-mixed"),
                batch_size=8,
                role="baseline",
            ),
        }
