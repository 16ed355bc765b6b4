"""Implicit MAML: the outer gradient from where the inner problem is solved, not from the way there.

    φ_i = argmin_φ L(φ, support_i) + λ/2 ‖φ − θ‖²;   dL(φ_i, query_i)/dθ = (I + H_i/λ)⁻¹ ∇L(φ_i, query_i)

Rajeswaran, Finn, Kakade & Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019.
"""

from torch import nn

from quickstudy.learners.optimization.maml import MAML
from quickstudy.learners.optimization.meta_gradient import Implicit
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ImplicitMAML"]


@register
class ImplicitMAML(MAML):
    """MAML with `meta_gradient=Implicit(…)`, by the numbers of the paper: memory does not grow with the inner steps.

    Args:
        network: the feature extractor.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support's loss and the pull towards θ; enough to come near the minimum.
        inner_rate: their step size.
        pull: λ, how strongly the weights of a task are held to θ.
        iterations: of conjugate gradients.
        evaluation_steps, adapting, tasks_at_once, reduction: as of `MAML`.

    Raises:
        ValueError: as `MAML` and `Implicit`.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 16,
        inner_rate: float = 0.1,
        pull: float = 2.0,
        iterations: int = 5,
        evaluation_steps: int | None = None,
        adapting: str = "",
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        meta_gradient = Implicit(pull, iterations)
        super().__init__(
            network,
            likelihood,
            inner_steps,
            inner_rate,
            evaluation_steps,
            meta_gradient,
            adapting,
            tasks_at_once,
            reduction,
        )
        self.pull, self.iterations = pull, iterations

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "ImplicitMAML":
        return cls(MLP(6, (24,), normalization), likelihood_for(kind, 4), 4, 0.2, pull=0.5)
