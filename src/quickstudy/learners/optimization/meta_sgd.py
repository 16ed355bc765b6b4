"""Meta-SGD: MAML that also learns how far each weight steps, and in which direction.

    φ = θ − α ∘ ∇_θ L(θ, support);  θ and α minimise the sum over tasks of L(φ_i, query_i)

Li, Zhou, Chen & Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017.
"""

import torch
from torch import nn

from quickstudy.arguments import check_flag
from quickstudy.learners.optimization.inner_loop import Shared
from quickstudy.learners.optimization.maml import MAML
from quickstudy.learners.optimization.meta_gradient import MetaGradient
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["MetaSGD"]


@register
class MetaSGD(MAML):
    """MAML with a learned rate for every single weight, begun at `inner_rate`; it may become negative.

    Rates are learned as multiples of `inner_rate`. An optimizer such as Adam, whose steps do not follow the size of a
    gradient, then moves them in proportion: steps of a thousandth would else make a rate of 0.01 many times as large
    before the weights have learned anything, and where the loss is a square the inner loop explodes.

    Args:
        network: the feature extractor.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support; the paper has one.
        inner_rate: where the rates begin.
        per_step: rates of their own for every step. Further steps in evaluation take those of the last.
        evaluation_steps, meta_gradient, adapting, tasks_at_once, reduction: as of `MAML`.

    Raises:
        ValueError: as `MAML`.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 1,
        inner_rate: float = 0.01,
        per_step: bool = False,
        evaluation_steps: int | None = None,
        meta_gradient: MetaGradient | None = None,
        adapting: str = "",
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
            adapting,
            tasks_at_once,
            reduction,
        )
        check_flag(per_step=per_step)
        self.per_step = per_step
        sets = max(1, inner_steps) if per_step else 1
        # Names of parameters have no dots, which those of the weights have: so they stand in order.
        self.rates = nn.ParameterList(
            torch.ones(sets, *self.predictor.get_parameter(name).shape) for name in self._adapted
        )

    def _learned(self) -> Shared:
        rates = [self.inner_rate * multiple for multiple in self.rates]
        return {"rates": dict(zip(self._adapted, rates, strict=True)), "tables": {}}
