"""Forty-two patients as tasks: each alone, all as one, told apart by a descriptor, or by gates among experts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from quickstudy.multitask import (
    MultiGateMixture,
    NamedModule,
    NamedSplit,
    NamedTasks,
    Objective,
    SeparateNetworks,
    TaskConditioned,
    parkinsons,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, tuned
from quickstudy.recipes.recipe import Training, option, recipe
from quickstudy.tasks import Gaussian

__all__ = ["ParkinsonsTasks"]

_UNITS, _RATES = (32, 64), (5e-3, 2e-2)


@recipe
class ParkinsonsTasks(NamedRecipe):
    """The motor score of Parkinson's disease from a recording of the voice, in points of the UPDRS.

    Networks have two hidden layers. Each way is tuned over the same four settings, two sizes by two rates of Adam, by
    the validation error. A patient has about 84 training recordings, of days that are also tested (see
    `multitask.parkinsons`); everyone begins at the mean of all training targets. Five seeds take about 8 minutes on
    one core.
    """

    name = "parkinsons-tasks"
    claim = "One network that is told who speaks errs less than a network for each patient, and than one for all."
    metric = "rmse"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(600, "training steps")
        batch_size: int = option(16, "recordings of every patient a step")

    def data(self) -> NamedTasks:
        return parkinsons()

    def objectives(self) -> dict[str, Objective]:
        return {patient: Objective(Gaussian()) for patient in self._train.data}

    @property
    def _train(self) -> NamedSplit:
        assert isinstance(self.tasks.train, NamedSplit)
        return self.tasks.train

    def contestants(self) -> dict[str, NamedContestant]:
        known = self.objectives()
        inputs = next(iter(self._train.data.values()))[0].shape[1]

        def film(units: int) -> NamedModule:
            return TaskConditioned(MLP(inputs, (units,)), known, conditioning="film", hidden=units)

        def pooled(units: int) -> NamedModule:
            return TaskConditioned(MLP(inputs, (units,)), known, conditioning="none", hidden=units)

        def experts(units: int) -> NamedModule:
            return MultiGateMixture(Inputs(inputs), known, experts=8, hidden=(units, units))

        def separate(units: int) -> NamedModule:
            return SeparateNetworks(MLP(inputs, (units, units)), known)

        return {
            "descriptor (FiLM)": self._tuned(film),
            "MMoE": self._tuned(experts),
            "no pooling": self._tuned(separate, baseline=True),
            "complete pooling": self._tuned(pooled, baseline=True),
        }

    def _tuned(self, make: Callable[[int], NamedModule], baseline: bool = False) -> NamedContestant:
        def begun(units: int) -> NamedModule:
            module = make(units)
            mean = torch.cat([y for _, y in self._train.data.values()]).mean()
            with torch.no_grad():
                module.heads.layers[-1].bias.fill_(mean)  # type: ignore[index, union-attr]
            return module

        return tuned(
            {
                f"{units} units, rate {rate}": NamedContestant(
                    partial(begun, units),
                    Training(
                        self._train,
                        self.settings.steps,
                        self.settings.batch_size,
                        rate,
                        validation=self.tasks.validation,
                        validation_size=self.tasks.validation.size or 1,
                        validations=10,
                    ),
                    role="baseline" if baseline else "learner",
                )
                for units in _UNITS
                for rate in _RATES
            }
        )
