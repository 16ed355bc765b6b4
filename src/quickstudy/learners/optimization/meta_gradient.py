"""How the gradient of the outer loss finds its way back through the inner loop.

    dL(φ)/dθ = (dφ/dθ)ᵀ ∇L(φ),   φ = where the inner steps lead from θ

Exact differentiation keeps every step in memory. The others need less memory, or less time, for a bias, for noise, or
for a condition on the inner problem; each is a small object that any learner with an inner loop takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call, grad
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from quickstudy.arguments import check_flag, check_real, check_whole
from quickstudy.learners.optimization.inner_loop import InnerLoop, Shared
from quickstudy.learners.weights import Weights
from quickstudy.rebuild import register
from quickstudy.tasks.batch import TaskBatch

if TYPE_CHECKING:
    from quickstudy.learners.optimization.gradient_learner import GradientLearner

__all__ = ["EvolutionStrategies", "Exact", "FirstOrder", "Implicit", "MetaGradient", "Truncated"]


class MetaGradient(ABC):
    """A way of differentiating through the inner loop.

    Attributes:
        pull: λ of a term λ/2 ‖φ − θ‖² that the inner steps descend together with the support's loss.
    """

    pull: float = 0.0

    @abstractmethod
    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        """The weights before the first step (without a task axis) and after every step that can be differentiated; the
        last are those after the last step."""

    def losses(self, learner: "GradientLearner", batch: TaskBatch) -> Float[Tensor, " task"]:
        """The losses of a batch, whose gradient is the meta-gradient."""
        return learner(batch, directly=True)


@register
class Exact(MetaGradient):
    """Through every inner step, with second derivatives.

    Args:
        checkpoint: keep the weights between the steps only, and compute each step a second time in the backward pass:
            less memory for a third more time. (Compiled, the compiler decides what is kept.)
    """

    def __init__(self, checkpoint: bool = False) -> None:
        check_flag(checkpoint=checkpoint)
        self.checkpoint = checkpoint

    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        weights = loop.begin
        yield weights
        again = self.checkpoint and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        for step in range(loop.steps):
            weights = _recomputed(loop, step, weights) if again else loop.exact_step(step, weights)
            yield weights


@register
class FirstOrder(MetaGradient):
    """As if the inner gradients were constants: dφ/dθ is taken for the identity (first-order MAML).

    Finn, Abbeel & Levine, ICML 2017. It is exact where the support's loss is linear, and biased by its curvature times
    the inner rate otherwise.
    """

    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        return _exact_last(loop, 0)


@register
class Truncated(MetaGradient):
    """Through the last steps only; earlier ones count as in first order.

    Shaban, Cheng, Hatch & Boots, "Truncated Back-propagation for Bilevel Optimization", AISTATS 2019.

    Args:
        steps: how many of the last steps are differentiated. 0 is first order.

    Raises:
        ValueError: negative steps.
    """

    def __init__(self, steps: int = 1) -> None:
        check_whole(steps=steps)
        if steps < 0:
            raise ValueError(f"steps must not be negative, got {steps}")
        self.steps = steps

    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        return _exact_last(loop, self.steps)


@register
class Implicit(MetaGradient):
    """From the condition that the inner problem is solved, whichever way that was found.

    The inner steps descend L(φ, support) + λ/2 ‖φ − θ‖². At its minimum ∇L(φ) + λ (φ − θ) = 0, so that

        dL(φ, query)/dθ = λ u,   (H + λ I) u = ∇L(φ, query),   H the Hessian of the support's loss at φ

    and u comes from conjugate gradients, which need products with H only. Memory does not grow with the inner steps.
    The gradient is as good as the inner problem is solved, and H + λ I must be positive definite (a direction in which
    it is not ends the iteration). Learned inner rates get no gradient: the minimum does not depend on them.

    Rajeswaran, Finn, Kakade & Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019.

    Args:
        pull: λ, for the support's loss in the learner's `reduction`.
        iterations: of conjugate gradients, for each task.

    Raises:
        ValueError: a pull that is not positive, or no iteration.
    """

    def __init__(self, pull: float = 2.0, iterations: int = 5) -> None:
        check_real(pull=pull)
        check_whole(iterations=iterations)
        if not pull > 0:
            raise ValueError(f"pull must be positive, got {pull}")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        self.pull, self.iterations = pull, iterations

    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        yield loop.begin
        if loop.steps:
            weights = loop.begin
            with torch.no_grad():
                for step in range(loop.steps):
                    weights = loop.exact_step(step, weights)
            leaves, form = tree_flatten((loop.begin, loop.shared))
            solution = _Solution.apply(loop, self.iterations, form, *weights.values(), *leaves)
            yield dict(zip(weights, solution, strict=True))


@register
class EvolutionStrategies(MetaGradient):
    """From losses alone: how they change when all that is learned is moved at random. No derivative, little memory.

        ∇ ≈ mean over pairs of  (L(θ + σ ε) − L(θ − σ ε)) / 2σ · ε,   ε standard normal

    It is unbiased for the loss smoothed over a distance σ, and noisy: its variance grows with the number of weights, so
    it is for few weights, or for inner loops through which nothing can be differentiated.

    Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017; Song et al.,
    "ES-MAML: Simple Hessian-Free Meta Learning", ICLR 2020.

    Args:
        pairs: of opposite moves, each of which costs two evaluations of the batch.
        deviation: σ.

    Raises:
        ValueError: no pair, or a deviation that is not positive.
    """

    def __init__(self, pairs: int = 16, deviation: float = 0.01) -> None:
        check_whole(pairs=pairs)
        check_real(deviation=deviation)
        if pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {pairs}")
        if not deviation > 0:
            raise ValueError(f"deviation must be positive, got {deviation}")
        self.pairs, self.deviation = pairs, deviation

    def states(self, loop: InnerLoop) -> Iterator[Weights]:
        return _exact_last(loop, 0)

    def losses(self, learner: "GradientLearner", batch: TaskBatch) -> Float[Tensor, " task"]:
        learned = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
        with torch.no_grad():
            value = learner(batch, directly=True)
        if not torch.is_grad_enabled():
            return value
        surrogate = torch.zeros_like(value)
        for _ in range(self.pairs):
            noise = {name: torch.randn_like(weight) for name, weight in learned.items()}
            with torch.no_grad():
                above, below = (
                    functional_call(
                        learner,
                        {name: weight + sign * self.deviation * noise[name] for name, weight in learned.items()},
                        (batch,),
                        {"directly": True},
                    )
                    for sign in (1, -1)
                )
            along = torch.stack([(weight * noise[name]).sum() for name, weight in learned.items()]).sum()
            surrogate = surrogate + (above - below) / (2 * self.deviation * self.pairs) * along
        return value + surrogate - surrogate.detach()


def _exact_last(loop: InnerLoop, exact: int) -> Iterator[Weights]:
    """Steps of first order, of which the last ones are exact."""
    weights = loop.begin
    yield weights
    for step in range(loop.steps):
        last = step >= loop.steps - exact
        weights = loop.exact_step(step, weights) if last else loop.first_order_step(step, weights)
        yield weights


def _recomputed(loop: InnerLoop, step: int, weights: Weights) -> Weights:
    """An inner step that the backward pass computes again rather than keep what is inside."""
    leaves, form = tree_flatten((weights, loop.begin, loop.shared))
    return dict(zip(weights, _Recomputed.apply(loop, step, form, *leaves), strict=True))


class _Recomputed(torch.autograd.Function):
    """torch.utils.checkpoint does this with hooks, which `torch.func.grad` inside a step does not support."""

    @staticmethod
    def forward(ctx: Any, loop: InnerLoop, step: int, form: TreeSpec, *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.loop, ctx.step, ctx.form = loop, step, form
        ctx.save_for_backward(*leaves)
        return tuple(loop.step(step, *tree_unflatten(leaves, form)).values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        leaves = [
            leaf.detach().requires_grad_(needed)
            for leaf, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[3:], strict=True)
        ]
        with torch.enable_grad():
            ends = tuple(ctx.loop.step(ctx.step, *tree_unflatten(leaves, ctx.form)).values())
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(torch.autograd.grad(ends, wanted, above, allow_unused=True))
        return None, None, None, *(next(found) if leaf.requires_grad else None for leaf in leaves)


class _Solution(torch.autograd.Function):
    """The end of the inner steps, differentiated as the minimum that it approaches."""

    @staticmethod
    def forward(ctx: Any, loop: InnerLoop, iterations: int, form: TreeSpec, *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.loop, ctx.iterations, ctx.form = loop, iterations, form
        ctx.save_for_backward(*leaves)
        return tuple(end.clone() for end in leaves[: len(loop.begin)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        loop: InnerLoop = ctx.loop
        names = list(loop.begin)
        ends, leaves = ctx.saved_tensors[: len(names)], ctx.saved_tensors[len(names) :]
        shared: Shared = tree_unflatten(leaves, ctx.form)[1]

        def along(ends: Weights, shared: Shared, direction: Weights) -> Tensor:
            """The slope of the support's losses in a direction."""
            # Step numbers choose rates, and entries of tables: those at the end are those after the last step.
            found = loop.gradients(loop.steps, ends, shared)
            return torch.stack([(found[name] * direction[name]).sum() for name in names]).sum()

        solution = dict(zip(names, ends, strict=True))

        def curved(direction: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            images = grad(along)(solution, shared, dict(zip(names, direction, strict=True)))
            return tuple(images[name] + loop.pull * d for name, d in zip(names, direction, strict=True))

        solved = dict(zip(names, _conjugate_gradients(curved, above, ctx.iterations), strict=True))
        of_begin = {name: loop.pull * part.sum(0) for name, part in solved.items()}
        across = grad(along, 1)(solution, shared, solved)
        of_shared = {kind: {name: -part for name, part in parts.items()} for kind, parts in across.items()}
        return None, None, None, *(None for _ in ends), *tree_flatten((of_begin, of_shared))[0]


def _conjugate_gradients(product: Any, right: tuple[Tensor, ...], iterations: int) -> tuple[Tensor, ...]:
    """u with A u = right, for every task by itself; A symmetric. Stops in a task where A is not positive definite."""

    def dot(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([(x * y).reshape(len(x), -1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)

    def plus(a: tuple[Tensor, ...], factor: Tensor, b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x + factor.reshape(-1, *[1] * (x.ndim - 1)) * y for x, y in zip(a, b, strict=True))

    found = tuple(torch.zeros_like(part) for part in right)
    rest, direction = right, right
    size = dot(rest, rest)
    for _ in range(iterations):
        image = product(direction)
        curvature = dot(direction, image)
        going = (curvature > 0) & (size > 0)
        length = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        found, rest = plus(found, length, direction), plus(rest, -length, image)
        before, size = size, dot(rest, rest)
        turn = torch.where(going, size / torch.where(going, before, 1.0), 0.0)
        direction = plus(rest, turn, direction)
        size = torch.where(going, size, 0.0)
    return found
