"""Losses and their gradient as one compiled graph."""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call, grad_and_value
from torch.utils._pytree import tree_flatten, tree_unflatten

from quickstudy.learners.over_tasks import at_once
from quickstudy.tasks import TaskBatch
from quickstudy.training.backward import Losses, flat

__all__ = ["CompiledGradient"]


class CompiledGradient(nn.Module):
    """A module whose losses, and the gradient of their sum, are computed by one compiled graph.

    `torch.compile(module)` makes two graphs, and what the backward one needs of the forward one is kept between them.
    In one, the compiler sees how much of a second-order meta-gradient is computed already: a step of MAML on a small
    network takes little more than half the time. Compiling takes as long.

    It is used as the module is: `compiled(batch).mean().backward()`. The gradient exists when the losses are returned,
    and backward scales it, so that all losses must count alike. Without gradients it is the module itself.

    With the first batch, the gradient is compared with that of the module as it is, unless something in it is random:
    what differentiates in ways of its own may be traced to something else.

    A learner that vectorises over some tasks at a time (`tasks_at_once`) is compiled for as many, and the gradients of
    the parts of a batch are summed: its loop in one graph would be unrolled, and take as many times as long to compile.

    Args:
        module: its `forward(batch)` returns losses, `[task]` or by name, and changes no buffers.
        backend: of `torch.compile`.

    Raises:
        RuntimeError: the module cannot be compiled so, or gives another gradient then; in backward, losses are weighed
            unequally. `torch.compile(module)` may do.
    """

    def __init__(self, module: nn.Module, backend: str = "inductor") -> None:
        super().__init__()
        self.module = module
        self._trained = {name: leaf for name, leaf in module.named_parameters() if leaf.requires_grad}
        self._checked = False

        def total(parameters: dict[str, Tensor], batch: Any) -> tuple[Tensor, Losses]:
            losses = functional_call(module, parameters, (batch,))
            return flat(losses).sum(), losses

        self._run: Callable[..., Any] = torch.compile(
            grad_and_value(total, has_aux=True), fullgraph=True, dynamic=False, backend=backend
        )

    def forward(self, batch: Any) -> Losses:
        """The module's losses of a batch."""
        if not torch.is_grad_enabled():
            return self.module(batch)
        gradients, losses = self._run_checked(batch) if not self._checked else self._gradients(batch)
        leaves, form = tree_flatten(losses)
        vector = _Known.apply(flat(losses), gradients, *self._trained.values())
        parts = vector.split([leaf.numel() for leaf in leaves])
        return tree_unflatten([part.view_as(leaf) for part, leaf in zip(parts, leaves, strict=True)], form)

    def _gradients(self, batch: Any) -> tuple[list[Tensor], Losses]:
        # With gradients enabled the compiler would prepare to differentiate the gradient once more, at twice the cost.
        with torch.no_grad():
            (found, (_, losses)), *rest = [self._run(self._trained, part) for part in self._parts(batch)]
        gradients = [found[name] for name in self._trained]
        for found, (_, more) in rest:
            torch._foreach_add_(gradients, [found[name] for name in self._trained])
            losses = torch.cat([losses, more])
        return gradients, losses

    def _parts(self, batch: Any) -> list[Any]:
        if not isinstance(batch, TaskBatch) or not hasattr(self.module, "tasks_at_once"):
            return [batch]
        chosen = cast(int | None, self.module.tasks_at_once)
        size = min(at_once(chosen, part.x) or batch.tasks for part in (batch.support, batch.query))
        if size >= batch.tasks:
            return [batch]
        return [batch[first : first + size] for first in range(0, batch.tasks, size)]

    def _run_checked(self, batch: Any) -> tuple[list[Tensor], Losses]:
        own, again = (self._uncompiled(batch, seed) for seed in (0, 1))
        name = type(self.module).__name__
        try:
            gradients, losses = self._gradients(batch)
        except Exception as error:
            raise RuntimeError(
                f"{name} cannot be compiled together with its gradient: it changes buffers, say, or attends through a "
                "fused kernel that has no second derivative; compile it alone (torch.compile, or fit(compile=True))"
            ) from error
        found = torch.cat([part.flatten() for part in gradients])
        # Compiled, an activation next to a kink may be rounded to its other side: equal is too much to ask.
        if torch.equal(own, again) and not (
            F.cosine_similarity(own, found, 0) > 0.99 and 0.95 * own.norm() <= found.norm() <= 1.05 * own.norm()
        ):
            raise RuntimeError(
                f"compiled together with its gradient, {name} gives another one: it differentiates in a way of its own "
                "that is not seen there; compile it alone (torch.compile, or fit(compile=True))"
            )
        self._checked = True
        return gradients, losses

    def _uncompiled(self, batch: Any, seed: int) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            total = flat(self.module(batch)).sum()
        parts = torch.autograd.grad(total, list(self._trained.values()), allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])


class _Known(torch.autograd.Function):
    """Losses whose gradient with respect to the parameters is known."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, gradients: list[Tensor], *_: Tensor) -> Tensor:
        ctx.gradients = gradients
        return losses.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Float[Tensor, " loss"]) -> tuple[Tensor | None, ...]:
        # The gradient of a mean or a sum is one number, seen many times; looking at numbers makes a GPU wait.
        if weights.stride() != (0,) and not bool((weights == weights[0]).all()):
            raise RuntimeError(
                f"the gradient of the losses' sum was compiled, but backward weighs them by {weights.tolist()}; use "
                "their mean or sum, or compile the module alone (torch.compile, or fit(compile=True))"
            )
        return (None, None, *torch._foreach_mul(ctx.gradients, weights[0]))
