"""No pooling: a network trained from a fresh initialisation on the support set of each task alone.

What a person does who has one small data set and no others; what every method must beat.
"""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.learners.weights import WeightsLearner
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["FromScratch"]


@register
class FromScratch(WeightsLearner):
    """Train on the support alone, with Adam, from the network's (random) weights; every task from the same ones.

    Adam works number by number, so the weights of all tasks are trained as one stack and remain independent.

    Args:
        network: a freshly initialised feature extractor; its weights are never changed.
        likelihood: what the outputs mean.
        steps: optimizer steps, each on the whole support.
        rate: Adam's learning rate.
        weight_decay: decoupled weight decay (AdamW).
        tasks_at_once: how many tasks to vectorise over, 1 being a loop; by default what is faster on the device.
        reduction: mean or sum over examples.

    Raises:
        ValueError: negative steps or decay, or a rate that is not positive.
    """

    trainable = False
    optimizes = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        steps: int = 100,
        rate: float = 1e-3,
        weight_decay: float = 0.0,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, likelihood, tasks_at_once, reduction)
        check_whole(steps=steps)
        check_real(rate=rate, weight_decay=weight_decay)
        if steps < 0 or weight_decay < 0 or not rate > 0:
            raise ValueError(
                f"steps and weight_decay must not be negative and rate must be positive, got {steps}, "
                f"{weight_decay} and {rate}"
            )
        self.steps, self.rate, self.weight_decay = steps, rate, weight_decay

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "FromScratch":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4), steps=6, rate=3e-2)

    @torch.no_grad()
    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        weights = {
            name: weight.expand(support.tasks, *weight.shape).clone().requires_grad_()
            for name, weight in self.predictor.named_parameters()
            if weight.requires_grad  # a frozen part stays as it is
        }
        at_once = self._at_once(support.x)
        optimizer = torch.optim.AdamW(weights.values(), lr=self.rate, weight_decay=self.weight_decay)
        for _ in range(self.steps):
            with torch.enable_grad():
                losses: Any = over_tasks(self._support_loss, at_once, weights, support, classes)
                losses.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        final = {name: weight.detach() for name, weight in weights.items()}
        return {"weights": final, "statistics": over_tasks(self._statistics, at_once, final, support)}
