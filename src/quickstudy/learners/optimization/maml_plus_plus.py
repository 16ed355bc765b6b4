"""MAML++: what makes MAML train steadily.

    φ^(k+1) = φ^(k) − α_k ∇L(φ^(k), support),   normalization at step k scaled by γ_k and shifted by β_k;
    θ, α, γ and β minimise the sum over tasks i and steps k of v_k L(φ_i^(k), query_i)

Antoniou, Edwards & Storkey, "How to train your MAML", ICLR 2019.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.learner import with_classes
from quickstudy.learners.optimization.inner_loop import InnerLoop, Shared
from quickstudy.learners.optimization.maml import MAML
from quickstudy.learners.optimization.meta_gradient import FirstOrder, Implicit, MetaGradient
from quickstudy.learners.weights import Weights
from quickstudy.networks import MLP, Normalization, Policy
from quickstudy.networks.vectorised import in_vmap
from quickstudy.rebuild import register
from quickstudy.tasks.batch import TaskBatch
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["MAMLPlusPlus"]


@register
class MAMLPlusPlus(MAML):
    """MAML with losses of every step, learned rates by layer and step, scales and shifts of normalization by step, and
    first order before second.

    The sixth part of the method, cosine annealing of the outer rate, belongs to the optimizer: the schedule of `fit`.

    Scales and shifts do not adapt, there is one of each for every step (and one for the end). The moments by which
    activations are normalised follow the network's policy, as everywhere here: those of the support (or `transductive`,
    which is what the published program does). The averages by step that the paper also describes are not kept.

    The training steps that have been made are counted in the buffer `seen`, so that a resumed run goes on. It compiles,
    unless derivatives are of first order for a while (`first_order_steps`): these are two programs. Compiled, the
    losses of all steps are computed even when only that of the last counts. A network given to this learner has its own
    scales and shifts frozen: give each learner a network of its own.

    Args:
        network: the feature extractor.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support.
        inner_rate: where the rates begin, one for each weight tensor and step, which are learned as multiples of it
            (see `MetaSGD`). Further steps in evaluation take those of the last.
        multi_step_losses: over how many training steps the weights v of the losses move from equal shares to the last
            step alone; 0 is the last step alone from the beginning.
        first_order_steps: for how many training steps derivatives are of first order.
        evaluation_steps, meta_gradient, adapting, tasks_at_once, reduction: as of `MAML`.

    Raises:
        ValueError: as `MAML`; numbers of training steps that are negative, or that are given together with `Implicit`,
            which knows the last step only.
    """

    seen: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 5,
        inner_rate: float = 0.1,
        multi_step_losses: int = 5000,
        first_order_steps: int = 0,
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
        check_whole(multi_step_losses=multi_step_losses, first_order_steps=first_order_steps)
        if min(multi_step_losses, first_order_steps) < 0:
            raise ValueError(
                "multi_step_losses and first_order_steps are numbers of training steps and must not be negative, got "
                f"{multi_step_losses} and {first_order_steps}"
            )
        if isinstance(meta_gradient, Implicit) and (multi_step_losses or first_order_steps):
            raise ValueError(
                f"meta_gradient is Implicit, which knows the last inner step only, but multi_step_losses is "
                f"{multi_step_losses} and first_order_steps is {first_order_steps}; set both to 0"
            )
        self.multi_step_losses, self.first_order_steps = multi_step_losses, first_order_steps
        # Names of parameters have no dots, which those of the weights have: so they stand in order.
        self.rates = nn.ParameterList(torch.ones(max(1, inner_steps)) for _ in self._adapted)
        self._tabled = self._of_normalization()
        own = [self.predictor.get_parameter(name).requires_grad_(False) for name in self._tabled]
        self.tables = nn.ParameterList(weight.detach().repeat(inner_steps + 1, 1) for weight in own)
        self.self_contained = len(self._adapted) + len(own) == len(list(self.predictor.parameters()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "MAMLPlusPlus":
        network = MLP(6, (24,), normalization)
        return cls(network, likelihood_for(kind, 4), inner_steps=3, multi_step_losses=10_000)

    def forward(self, batch: TaskBatch, directly: bool = False) -> Float[Tensor, " task"]:
        """The loss of every task; in training mode, of all inner steps with their weights."""
        if torch.compiler.is_compiling() and self.first_order_steps:
            raise ValueError(
                "first order before second is two programs, which cannot be compiled as one: set first_order_steps=0, "
                f"got {self.first_order_steps}"
            )
        losses = super().forward(batch, directly)
        apart = torch.compiler.is_compiling() or not in_vmap()  # the compiler cannot ask for the latter
        if self.training and not directly and torch.is_grad_enabled() and apart:
            self.seen.add_(1)
        return losses

    def _of_normalization(self) -> list[str]:
        """The names of scales and shifts."""
        places = [name for name, part in self.predictor.named_modules() if isinstance(part, Normalization)]
        tabled = {f"{place}.{part}" for place in places for part in ("scale", "shift")}
        return [name for name, _ in self.predictor.named_parameters() if name in tabled]

    def _select(self, adapting: str) -> list[str]:
        selected, tabled = super()._select(adapting), self._of_normalization()
        if set(selected) <= set(tabled):
            raise ValueError(
                f"adapting is {adapting!r}, which is scales and shifts of normalization alone; MAML++ has one of each "
                "for every step, which do not adapt"
            )
        return [name for name in selected if name not in tabled]

    def _learned(self) -> Shared:
        return {
            "rates": {name: self.inner_rate * rate for name, rate in zip(self._adapted, self.rates, strict=True)},
            "tables": dict(zip(self._tabled, self.tables, strict=True)),
        }

    def _states(self, loop: InnerLoop) -> Iterator[Weights]:
        if not (self.training and self.first_order_steps):
            return self.meta_gradient.states(loop)
        return (FirstOrder() if self.seen < self.first_order_steps else self.meta_gradient).states(loop)

    def _losses(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        wanted = self.training and self.multi_step_losses > 0 and self.inner_steps > 1
        if not wanted or (self._may_look and bool(self.seen >= self.multi_step_losses)):
            return super()._losses(batch)
        batch.check()
        support, classes = self._ready(batch.support, batch.classes)
        losses = [
            self._per_example(-self.log_prob(with_classes(phi, classes), batch.query), batch.query.mask)
            for phi in self._visited(support, classes, every=True)
        ]
        equal = 1 / self.inner_steps
        early = equal * (1 - (_now(self.seen) / self.multi_step_losses).clamp(max=1).to(losses[0].dtype))
        last = 1 - (self.inner_steps - 1) * early
        return early * torch.stack(losses[:-1]).sum(0) + last * losses[-1]


# An operator of its own, which a compiler cannot look into: it would read the buffer again for the backward pass, when
# the step has been counted already.
@torch.library.custom_op("quickstudy::now", mutates_args=())
def _now(count: Tensor) -> Tensor:
    """What the count is at this moment."""
    return count.clone()


@_now.register_fake
def _(count: Tensor) -> Tensor:
    return torch.empty_like(count)
