"""Fine-tuning: pre-train on all training classes, then train all weights, with a new head, on each task's support.

Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.over_tasks import at_once, over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.learners.transfer.pretrained import Pretrained
from quickstudy.networks import MLP, Policy, Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree, map_tensors
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["FineTuning"]


@register
class FineTuning(Pretrained):
    """Adam on the support alone, from the pre-trained weights; the new head begins at zero, with a rate of its own.

    φ holds all the weights of every task, and the statistics of its normalization.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes, or the tasks' own likelihood.
        steps: optimizer steps, each on the whole support.
        rate: Adam's learning rate for the network.
        head_rate: and for the head.
        tasks_at_once: how many tasks to vectorise over, 1 being a loop; by default what is faster on the device.
        reduction: mean or sum over examples.

    Raises:
        ValueError: negative steps, a rate that is not positive, `tasks_at_once` below 1, or a network that keeps
            running averages.
    """

    optimizes = True
    self_contained = True

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        steps: int = 50,
        rate: float = 1e-3,
        head_rate: float = 1e-2,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, reduction)
        check_whole(steps=steps, **({} if tasks_at_once is None else {"tasks_at_once": tasks_at_once}))
        check_real(rate=rate, head_rate=head_rate)
        if steps < 0 or not (rate > 0 and head_rate > 0):
            raise ValueError(
                f"steps must not be negative and rates must be positive, got {steps}, {rate} and {head_rate}"
            )
        if tasks_at_once is not None and tasks_at_once < 1:
            raise ValueError(f"tasks_at_once must be None or at least 1, got {tasks_at_once}")
        if self.network.normalization == "running":
            raise ValueError(
                "FineTuning changes the weights for every task, which running averages cannot follow; build the "
                "network with normalization='support' or 'layer'"
            )
        self.steps, self.rate, self.head_rate, self.tasks_at_once = steps, rate, head_rate, tasks_at_once

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "FineTuning":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4), steps=6, rate=3e-2)

    @torch.no_grad()
    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        tasks, outputs = support.tasks, self.likelihood.outputs if classes is None else classes.shape[1]
        network = {
            name: weight.expand(tasks, *weight.shape).clone().requires_grad_()
            for name, weight in self.network.named_parameters()
            if weight.requires_grad  # a frozen part stays as it is
        }
        like, chunk = next(self.network.parameters()), at_once(self.tasks_at_once, support.x)
        head = {
            "weight": like.new_zeros(tasks, outputs, self.network.width).requires_grad_(),
            "bias": like.new_zeros(tasks, outputs).requires_grad_(),
        }
        # Adam works number by number, so the weights of all tasks are trained as one stack and remain independent.
        optimizer = torch.optim.Adam(
            [{"params": list(network.values()), "lr": self.rate}, {"params": list(head.values()), "lr": self.head_rate}]
        )
        for _ in range(self.steps):
            with torch.enable_grad():
                losses: Any = over_tasks(self._support_loss, chunk, network, head, support, classes)
                losses.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        network, head = ({name: weight.detach() for name, weight in part.items()} for part in (network, head))
        statistics = over_tasks(
            lambda weights, examples: self._embed(weights, examples.x, examples.mask)[1],
            chunk,
            network,
            support,
        )
        return {"network": network, "head": head, "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        def one(weights: Any, head: Any, statistics: Any, x: Tree, mask: Tensor) -> Tensor:
            return self._apply_head(head, self._embed(weights, x, mask, statistics)[0])

        return over_tasks(one, at_once(self.tasks_at_once, x), phi["network"], phi["head"], phi["statistics"], x, mask)

    def _support_loss(
        self, weights: Any, head: Any, support: Examples, classes: Bool[Tensor, " way"] | None
    ) -> Float[Tensor, ""]:
        """−log p of one task's support (0 when it is empty)."""
        raw = self._apply_head(head, self._embed(weights, support.x, support.mask)[0])
        batched = map_tensors(lambda leaf: leaf[None], support)
        classes = None if classes is None else classes[None]
        return -self.likelihood.log_prob(raw[None], batched, classes, self.reduction)[0]

    def _embed(
        self, weights: Any, x: Tree, mask: Bool[Tensor, " n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "n width"], Statistics]:
        """One task's features, and the statistics to keep; no argument or result has a task axis."""
        given = map_tensors(lambda leaf: leaf[None], statistics) if statistics else None
        features, kept = functional_call(
            self.network, weights, (map_tensors(lambda leaf: leaf[None], x), mask[None], given)
        )
        return features[0], map_tensors(lambda leaf: leaf[0], kept)

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "n width"]) -> Tensor:
        return features @ head["weight"].mT + head["bias"]
