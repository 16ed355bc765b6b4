"""MAML: an initialisation from which a few gradient steps learn a new task.

    φ_i = θ − α ∇_θ L(θ, support_i), repeated;  θ minimises the sum over tasks of L(φ_i, query_i)

Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017.
"""

import re
from typing import ClassVar

from jaxtyping import Bool
from torch import Tensor, nn
from torch.func import grad

from quickstudy.arguments import check_flag, check_real, check_whole
from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.learners.weights import Weights, WeightsLearner
from quickstudy.networks import MLP, Policy, Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ANIL", "BOIL", "MAML"]


@register
class MAML(WeightsLearner):
    """Model-agnostic meta-learning.

    Args:
        network: the feature extractor. Its weights are called `network.…`, those of the output layer `head.…`.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support.
        inner_rate: their step size α, for the loss in `reduction`.
        evaluation_steps: gradient steps in evaluation mode; as in training by default.
        first_order: leave out the derivative of the inner gradients (FOMAML).
        adapting: which weights adapt: a regular expression to be found in their names; all by default. The others are
            learned across tasks, shared by all, and not in φ.
        tasks_at_once: how many tasks to vectorise over; None is all, 1 is a loop.
        reduction: mean or sum over examples.

    Raises:
        ValueError: negative steps, a rate that is not positive, or `adapting` that no weight answers to.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        evaluation_steps: int | None = None,
        first_order: bool = False,
        adapting: str = "",
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, likelihood, tasks_at_once, reduction)
        check_whole(inner_steps=inner_steps)
        if evaluation_steps is not None:
            check_whole(evaluation_steps=evaluation_steps)
        check_real(inner_rate=inner_rate)
        check_flag(first_order=first_order)
        if inner_steps < 0 or (evaluation_steps or 0) < 0:
            raise ValueError(f"steps must not be negative, got {inner_steps} inner and {evaluation_steps} evaluation")
        if not inner_rate > 0:
            raise ValueError(f"inner_rate must be positive, got {inner_rate}")
        if not isinstance(adapting, str):
            raise TypeError(f"adapting must be a regular expression, got {adapting!r}")
        try:
            re.compile(adapting)
        except re.error as error:
            raise ValueError(f"adapting must be a regular expression, got {adapting!r}: {error}") from error
        self.inner_steps, self.inner_rate = inner_steps, inner_rate
        self.evaluation_steps, self.first_order, self.adapting = evaluation_steps, first_order, adapting
        names = [name for name, _ in self.predictor.named_parameters()]
        self._adapted = [name for name in names if re.search(adapting, name)]
        if not self._adapted:
            raise ValueError(f"adapting is {adapting!r}, which none of the weights answers to: {', '.join(names)}")
        self.self_contained = self._adapted == names

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MAML":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4), inner_steps=3, inner_rate=0.1)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        weights, statistics = over_tasks(self._adapt_one, self.tasks_at_once, support, classes)
        return {"weights": weights, "statistics": statistics}

    def _adapt_one(self, support: Examples, classes: Bool[Tensor, " way"] | None) -> tuple[Weights, Statistics]:
        """Weights after the inner steps on one task, and the statistics of its support under them."""
        steps = self.inner_steps if self.training or self.evaluation_steps is None else self.evaluation_steps
        # Copies: φ must stay what it is when the optimizer changes θ in place.
        weights = {name: w.clone() for name, w in self.predictor.named_parameters() if name in self._adapted}
        for step in range(steps):
            weights = self._step(step, weights, support, classes)
        return weights, self._statistics(weights, support)

    def _step(self, step: int, weights: Weights, examples: Examples, classes: Bool[Tensor, " way"] | None) -> Weights:
        """Weights after one gradient step on one task."""
        gradients = grad(self._support_loss)(weights, examples, classes)
        if self.first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        return {name: weight - self._rate(name, step) * gradients[name] for name, weight in weights.items()}

    def _rate(self, name: str, step: int) -> float | Tensor:
        """The step size of a weight."""
        return self.inner_rate


class _Part(MAML):
    """MAML of a part of the weights, fixed by the method."""

    part: ClassVar[str]

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        evaluation_steps: int | None = None,
        first_order: bool = False,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            network,
            likelihood,
            inner_steps,
            inner_rate,
            evaluation_steps,
            first_order,
            self.part,
            tasks_at_once,
            reduction,
        )


@register
class ANIL(_Part):
    """Almost no inner loop: only the output layer adapts, so features are the same for every task.

    Arguments as of `MAML`. Raghu, Raghu, Bengio & Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", ICLR 2020.
    """

    part = r"^head\."


@register
class BOIL(_Part):
    """Body only in the inner loop: the features adapt, the output layer does not.

    Arguments as of `MAML`. Oh, Yoo, Kim & Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR 2021.
    """

    part = r"^network\."
