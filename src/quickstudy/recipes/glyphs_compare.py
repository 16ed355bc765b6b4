"""The demo: letters of scripts never seen, from one example each, on the glyphs that every machine can render."""

from dataclasses import dataclass

from quickstudy.learners import (
    MAML,
    CompletePooling,
    FromScratch,
    InContextTransformer,
    NearestNeighbour,
    PrototypicalNetwork,
)
from quickstudy.networks import Conv4
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, TaskSource, glyphs
from quickstudy.training import Precision

__all__ = ["GlyphsCompare"]

_WAYS = 5


@recipe
class GlyphsCompare(Recipe):
    """Prototypes, gradient steps and attention against what one would try first, on equal terms."""

    name = "glyphs-compare"
    claim = (
        "Learning across scripts lets a network tell letters of scripts it never saw apart from one example each, "
        "where methods that look at one task alone mostly fail."
    )

    @dataclass(frozen=True)
    class Settings:
        """Steps are chosen so that no learner trains much longer than a minute on two cores."""

        steps: int = option(600, "training steps of the prototypical network; the others take a fixed share of it")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if self.settings.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.settings.steps}")
        self._pool = glyphs()

    def tests(self) -> dict[str, TaskSource]:
        return {"5way1shot": self._pool.episodes(_WAYS, 1, 10)}

    def contestants(self) -> dict[str, Contestant]:
        validation, likelihood = self._pool.episodes(_WAYS, 1, 5).validation, Categorical(_WAYS)

        def training(
            ways: int, queries: int, share: float, batch_size: int, rate: float, fast: bool = True
        ) -> Training:
            tasks = self._pool.episodes(ways, 1, queries).train
            precision: Precision = "bf16-mixed" if fast else "32-true"
            return Training(
                tasks,
                max(1, round(self.settings.steps * share)),
                batch_size,
                rate,
                precision=precision,
                validation=validation,
                validation_size=100,
                validations=5,
            )

        return {
            "prototypical": Contestant(
                lambda: PrototypicalNetwork(Conv4(normalization="layer")), training(30, 3, 1, 1, 3e-3)
            ),
            "in-context": Contestant(
                lambda: InContextTransformer(Conv4(normalization="support"), likelihood, layers=2),
                training(_WAYS, 5, 1, 8, 1e-3),
            ),
            "MAML": Contestant(
                lambda: MAML(Conv4(filters=32, normalization="support"), likelihood, inner_steps=2, inner_rate=0.2),
                training(_WAYS, 2, 0.5, 8, 3e-3, fast=False),
            ),
            **plain_transfer(
                lambda: Conv4(normalization="layer"),
                Training(self._pool.all_classes(120), self.settings.steps, 1, 3e-3, precision="bf16-mixed"),
            ),
            "nearest neighbour": Contestant(NearestNeighbour, batch_size=100, role="baseline"),
            "from scratch": Contestant(
                lambda: FromScratch(Conv4(filters=16, normalization="layer"), likelihood, steps=30, rate=5e-3),
                batch_size=50,
                role="baseline",
            ),
            "complete pooling": Contestant(
                lambda: CompletePooling(Conv4(normalization="layer"), likelihood),
                training(_WAYS, 3, 0.25, 8, 1e-3),
                role="baseline",
            ),
        }
