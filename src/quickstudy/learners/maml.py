"""MAML: an initialisation from which a few gradient steps learn a new task.

    φ_i = θ − α ∇_θ L(θ, support_i), repeated;  θ minimises the sum over tasks of L(φ_i, query_i)

Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017.
"""

from jaxtyping import Bool
from torch import Tensor, nn
from torch.func import grad

from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.learners.weights import Weights, WeightsLearner
from quickstudy.networks import MLP, Policy, Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["MAML"]


@register
class MAML(WeightsLearner):
    """Model-agnostic meta-learning.

    Args:
        network: the feature extractor; all its weights and those of the head adapt.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support.
        inner_rate: their step size α, for the loss in `reduction`.
        evaluation_steps: gradient steps in evaluation mode; as in training by default.
        first_order: leave out the derivative of the inner gradients (FOMAML).
        tasks_at_once: how many tasks to vectorise over; None is all, 1 is a loop.
        reduction: mean or sum over examples.

    Raises:
        ValueError: negative steps, or a rate that is not positive.
    """

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
        super().__init__(network, likelihood, tasks_at_once, reduction)
        if inner_steps < 0 or (evaluation_steps or 0) < 0:
            raise ValueError(f"steps must not be negative, got {inner_steps} inner and {evaluation_steps} evaluation")
        if not inner_rate > 0:
            raise ValueError(f"inner_rate must be positive, got {inner_rate}")
        self.inner_steps, self.inner_rate = inner_steps, inner_rate
        self.evaluation_steps, self.first_order = evaluation_steps, first_order

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
        weights = {name: weight.clone() for name, weight in self.predictor.named_parameters()}
        for _ in range(steps):
            gradients = grad(self._support_loss)(weights, support, classes)
            if self.first_order:
                gradients = {name: gradient.detach() for name, gradient in gradients.items()}
            weights = {name: weight - self.inner_rate * gradients[name] for name, weight in weights.items()}
        return weights, self._statistics(weights, support)
