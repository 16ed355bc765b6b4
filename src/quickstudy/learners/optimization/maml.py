"""MAML: an initialisation from which a few gradient steps learn a new task.

    φ_i = θ − α ∇_θ L(θ, support_i), repeated;  θ minimises the sum over tasks of L(φ_i, query_i)

Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017.
"""

from typing import ClassVar

from torch import nn

from quickstudy.learners.optimization.gradient_learner import GradientLearner
from quickstudy.learners.optimization.meta_gradient import MetaGradient
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ANIL", "BOIL", "MAML"]


@register
class MAML(GradientLearner):
    """Model-agnostic meta-learning; `meta_gradient=FirstOrder()` is first-order MAML.

    Arguments and errors as of `GradientLearner`.
    """

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MAML":
        return cls(MLP(6, (24,), normalization), likelihood_for(kind, 4), inner_steps=3, inner_rate=0.1)


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
        meta_gradient: MetaGradient | None = None,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            network,
            likelihood,
            inner_steps,
            inner_rate,
            evaluation_steps,
            meta_gradient,
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
