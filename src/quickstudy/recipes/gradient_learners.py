"""The learners with an inner loop by their names, made with one set of options for all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quickstudy.learners import (
    ANIL,
    CAVIA,
    MAML,
    FirstOrder,
    GradientLearner,
    ImplicitMAML,
    MAMLPlusPlus,
    MetaSGD,
    Reptile,
)
from quickstudy.networks import Network
from quickstudy.tasks import Likelihood

__all__ = ["InnerLoops"]


@dataclass(frozen=True)
class InnerLoops:
    """What all of them are built with.

    Attributes:
        network: makes the feature extractor, of the task's inputs.
        likelihood: of the tasks.
        steps: inner steps in training.
        rate: of these steps, in the loss's own units.
        outer_steps: training steps, over which MAML++ anneals.
        context: makes the network of CAVIA, which may take further inputs.
        place: where CAVIA modulates that network; None when it takes further inputs.
        pull: λ of implicit MAML.
        more: further options of each learner, by its name.
    """

    network: Callable[[], Network]
    likelihood: Likelihood
    steps: int
    rate: float
    outer_steps: int
    context: Callable[[], Network]
    place: str | None = None
    pull: float = 1.0
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Callable[[int | None], GradientLearner]:
        """A function that makes the learner of a name, with the gradient steps that it takes in evaluation."""
        cls, options = self._methods()[name]
        options = {"inner_steps": self.steps, "inner_rate": self.rate} | options | self.more.get(name, {})
        network = self.context if cls is CAVIA else self.network
        return lambda steps: cls(network(), self.likelihood, evaluation_steps=steps, **options)

    def names(self) -> tuple[str, ...]:
        """Everyone."""
        return tuple(self._methods())

    def _methods(self) -> dict[str, tuple[type[GradientLearner], dict[str, Any]]]:
        """The class of each, and what it is given that the others are not."""
        return {
            "MAML": (MAML, {}),
            "first-order MAML": (MAML, {"meta_gradient": FirstOrder()}),
            "ANIL": (ANIL, {}),
            "Meta-SGD": (MetaSGD, {"per_step": True}),
            "MAML++": (MAMLPlusPlus, {"multi_step_losses": self.outer_steps // 4}),
            "implicit MAML": (ImplicitMAML, {"pull": self.pull, "inner_steps": 3 * self.steps}),
            "Reptile": (Reptile, {"inner_batch": None}),
            "CAVIA": (CAVIA, {"place": self.place}),
        }
