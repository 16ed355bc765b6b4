"""Reptile: move the initialisation towards what plain training on a task makes of it.

    θ ← θ + ε · mean over tasks of (φ_i − θ),   φ_i = θ after k steps of descent on task i

Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018.
"""

from collections import deque
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.optimization.inner_loop import Shared
from quickstudy.learners.optimization.maml import MAML
from quickstudy.learners.optimization.meta_gradient import FirstOrder
from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.weights import Weights
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["Reptile"]


@register
class Reptile(MAML):
    """Meta-learning without meta-gradients: no second derivatives, no division of a task into support and query.

    In training mode `learner(batch)` is, for every task, its loss (support and query together) where the inner steps
    end, and its gradient is θ − φ: with SGD at a rate ε that is the paper's update, with Adam the one of its code. In
    evaluation mode the loss is that of the query after adapting to the support, as of any learner.

    Args:
        network: the feature extractor.
        likelihood: what the outputs mean.
        inner_steps: k. With one step Reptile is joint training on all tasks.
        inner_rate: their step size.
        inner_batch: examples of the task in each of these steps, drawn at random; None is all of them, always.
        evaluation_steps: gradient steps on the whole support in evaluation mode; `inner_steps` by default.
        tasks_at_once, reduction: as of `MAML`.

    Raises:
        ValueError: as `MAML`, or `inner_batch` below one.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        inner_batch: int | None = 10,
        evaluation_steps: int | None = None,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            network,
            likelihood,
            inner_steps,
            inner_rate,
            evaluation_steps,
            FirstOrder(),
            tasks_at_once=tasks_at_once,
            reduction=reduction,
        )
        if inner_batch is not None:
            check_whole(inner_batch=inner_batch)
            if inner_batch < 1:
                raise ValueError(f"inner_batch must be None or at least 1, got {inner_batch}")
        self.inner_batch = inner_batch

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "Reptile":
        return cls(MLP(6, (24,), normalization), likelihood_for(kind, 4), 5, 0.1, inner_batch=None)

    def forward(self, batch: TaskBatch, directly: bool = False) -> Float[Tensor, " task"]:
        """The loss of every task, with the gradient θ − φ."""
        if not self.training:
            return super().forward(batch, directly)
        both, classes = self._joined(batch)
        reached, losses = self._descended(both, classes)
        slopes = [
            (weight * (weight.detach() - reached[name])).reshape(batch.tasks, -1).sum(1)
            for name, weight in self.predictor.named_parameters()
            if name in reached
        ]
        surrogate = torch.stack(slopes).sum(0)
        return losses + surrogate - surrogate.detach()

    @torch.no_grad()
    def _descended(self, examples: Examples, classes: Bool[Tensor, "task way"] | None) -> tuple[Weights, Tensor]:
        """Weights of every task after the inner steps, and the loss there."""
        self._look_into(examples.x)

        def gradients(step: int, weights: Weights, shared: Shared) -> Weights:
            return self._gradients(step, weights, shared, self._part(examples), classes)

        with self._kernels():
            loop = replace(self._loop(examples, classes), gradients=gradients)
            weights = deque(self.meta_gradient.states(loop), 1)[0]  # the states before it are let go
            reached = self._per_task(weights, loop.steps, examples.tasks)
            at_once = self._at_once(examples.x)
            return reached, over_tasks(self._support_loss, at_once, reached, examples, classes)

    def _part(self, examples: Examples) -> Examples:
        """Some of every task's examples, at random, real ones first."""
        tasks, n = examples.mask.shape
        if self.inner_batch is None or self.inner_batch >= n:
            return examples
        order = torch.rand(tasks, n, device=examples.mask.device) + examples.mask
        chosen, rows = order.topk(self.inner_batch).indices, torch.arange(tasks, device=order.device)[:, None]
        return examples.map(lambda leaf: leaf[rows, chosen])
