"""Income and marital status from a census: separate networks, a shared bottom, and experts in two ways."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from quickstudy.multitask import (
    MultiGateMixture,
    NamedModule,
    NamedTasks,
    Objective,
    ProgressiveExtraction,
    SeparateNetworks,
    SharedBottom,
    SharedSplit,
    census_income,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, summed, tuned
from quickstudy.recipes.recipe import Training, option, recipe
from quickstudy.tasks import Bernoulli

__all__ = ["CensusExperts"]

_TASKS = ("income", "marital")
_UNITS, _RATES = (32, 64), (1e-3, 3e-3)
_TOWER = 16


@recipe
class CensusExperts(NamedRecipe):
    """Everyone has as many units after the inputs, in both tasks' networks together, and a layer of 16 for each task.

    Each is tuned over the same four settings, two sizes by two rates of Adam, by the AUC on the validation split. All
    rows are used; 1,200 steps of 256 rows are five rounds of the training split, and within a run the best of ten
    moments is kept. Five seeds take about 15 minutes on one core.
    """

    name = "census-experts"
    claim = "Experts that tasks choose among predict income and marital status better than networks that share nothing."
    metric = "auc"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(1200, "training steps")
        batch_size: int = option(256, "people a step")

    def data(self) -> NamedTasks:
        return census_income()

    def objectives(self) -> dict[str, Objective]:
        return {task: Objective(Bernoulli(), metric="auc") for task in _TASKS}

    def contestants(self) -> dict[str, NamedContestant]:
        data, known = self.tasks, self.objectives()
        assert isinstance(data.train, SharedSplit)
        inputs = data.train.x.shape[1]

        def experts(units: int) -> NamedModule:
            return MultiGateMixture(Inputs(inputs), known, experts=4, hidden=(units // 2,), tower=(_TOWER,))

        def extraction(units: int) -> NamedModule:
            hidden = (units // 2,)
            return ProgressiveExtraction(Inputs(inputs), known, own=1, shared=2, hidden=hidden, tower=(_TOWER,))

        def bottom(units: int) -> NamedModule:
            return SharedBottom(MLP(inputs, (2 * units,)), known, tower=(_TOWER,))

        def separate(units: int) -> NamedModule:
            return SeparateNetworks(MLP(inputs, (units, _TOWER)), known)

        return {
            "MMoE": self._tuned(experts),
            "PLE": self._tuned(extraction),
            "shared bottom": self._tuned(bottom),
            "separate networks": self._tuned(separate, baseline=True),
        }

    def _tuned(self, make: Callable[[int], NamedModule], baseline: bool = False) -> NamedContestant:
        return tuned(
            {
                f"{2 * units} units, rate {rate}": NamedContestant(
                    partial(make, units),
                    Training(
                        self.tasks.train,
                        self.settings.steps,
                        self.settings.batch_size,
                        rate,
                        validation=self.tasks.validation,
                        validation_size=4000,
                        validations=10,
                    ),
                    role="baseline" if baseline else "learner",
                    backward=summed,
                )
                for units in _UNITS
                for rate in _RATES
            }
        )
