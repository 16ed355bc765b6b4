"""What all learners share that adapt by gradient steps on the support.

Which weights adapt is a selector, how far they step and what differs by step are tables that may be learned, and how
the outer gradient comes back is a `MetaGradient`. The steps themselves are in `inner_loop.py`.
"""

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import grad

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.learner import with_classes
from quickstudy.learners.optimization.inner_loop import InnerLoop, Shared, at_step
from quickstudy.learners.optimization.meta_gradient import Exact, MetaGradient
from quickstudy.learners.optimization.probe import Means, looked_into, plain_attention
from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.learners.weights import Weights, WeightsLearner
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["GradientLearner", "InnerState"]


@dataclass(frozen=True)
class InnerState:
    """Where the inner loop is after some steps.

    Attributes:
        phi: what prediction needs there.
        slopes: the gradient that the next step would go down, by the name of the weight, `[task, *weight]`.
    """

    phi: Phi
    slopes: Weights


class GradientLearner(WeightsLearner):
    """A learner with an inner loop.

    Args:
        network: the feature extractor. Its weights are called `network.…`, those of the output layer `head.…`.
        likelihood: what the outputs mean.
        inner_steps: gradient steps on the support.
        inner_rate: their step size α, for the loss in `reduction`.
        evaluation_steps: gradient steps in evaluation mode; as in training by default.
        meta_gradient: how the outer gradient passes through the steps; exactly by default.
        adapting: which weights adapt: a regular expression to be found in their names; all by default. The others are
            learned across tasks, shared by all, and not in φ. Frozen weights, which need no gradient, do not adapt.
        tasks_at_once: how many tasks to vectorise over, 1 being a loop; by default what is faster on the device.
        reduction: mean or sum over examples.

    Raises:
        TypeError: `meta_gradient` is none.
        ValueError: negative steps, a rate that is not positive, `adapting` that no weight answers to, or a network
            through which nothing can be differentiated twice (see `looked_into`).
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        inner_steps: int = 5,
        inner_rate: float = 0.01,
        evaluation_steps: int | None = None,
        meta_gradient: MetaGradient | None = None,
        adapting: str = "",
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, likelihood, tasks_at_once, reduction)
        check_whole(inner_steps=inner_steps)
        if evaluation_steps is not None:
            check_whole(evaluation_steps=evaluation_steps)
        check_real(inner_rate=inner_rate)
        if inner_steps < 0 or (evaluation_steps or 0) < 0:
            raise ValueError(f"steps must not be negative, got {inner_steps} inner and {evaluation_steps} evaluation")
        if not inner_rate > 0:
            raise ValueError(f"inner_rate must be positive, got {inner_rate}")
        meta_gradient = Exact() if meta_gradient is None else meta_gradient
        if not isinstance(meta_gradient, MetaGradient):
            raise TypeError(f"meta_gradient must be a MetaGradient such as FirstOrder(), got {meta_gradient!r}")
        self.inner_steps, self.inner_rate, self.evaluation_steps = inner_steps, inner_rate, evaluation_steps
        self.meta_gradient, self.adapting = meta_gradient, adapting
        self._adapted = self._select(adapting)
        self.self_contained = len(self._adapted) == len(list(self.predictor.parameters()))
        self._means: Means | None = None
        if self.predictor.input_shape is not None:
            self._look_into(next(self.predictor.parameters()).new_empty(1, 1, *self.predictor.input_shape))

    def _select(self, adapting: str) -> list[str]:
        """The names of the weights that adapt."""
        if not isinstance(adapting, str):
            raise TypeError(f"adapting must be a regular expression, got {adapting!r}")
        try:
            re.compile(adapting)
        except re.error as error:
            raise ValueError(f"adapting must be a regular expression, got {adapting!r}: {error}") from error
        weights = dict(self.predictor.named_parameters())
        answering = [name for name in weights if re.search(adapting, name)]
        if not answering:
            raise ValueError(f"adapting is {adapting!r}, which none of the weights answers to: {', '.join(weights)}")
        free = [name for name in answering if weights[name].requires_grad]
        if not free:
            raise ValueError(
                f"adapting is {adapting!r}, but the weights that answer to it are frozen: {', '.join(answering)}; call "
                "requires_grad_() on those that shall adapt"
            )
        return free

    def forward(self, batch: TaskBatch, directly: bool = False) -> Float[Tensor, " task"]:
        """The loss of every task: −log p of its query, given φ of its support.

        Args:
            batch: the tasks.
            directly: leave how the gradient is estimated to the caller; for the `MetaGradient` itself.

        Raises:
            TypeError, ValueError: the batch is malformed.
        """
        if directly or not self.training:
            return self._losses(batch)
        return self.meta_gradient.losses(self, batch)

    def _losses(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The loss of every task, differentiated through the inner loop as far as its states are."""
        return super().forward(batch)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        return self._visited(support, classes)[-1]

    def _visited(self, support: Examples, classes: Bool[Tensor, "task way"] | None, every: bool = False) -> list[Phi]:
        """φ after the last inner step, or after every one."""
        self._look_into(support.x)
        with self._kernels():
            loop = self._loop(support, classes)
            # One state at a time, unless all are wanted: they would be all that grows with steps of first order.
            states = deque(self._states(loop), None if every else 1)
            self._check_finite(states[-1], loop)
            wanted = list(enumerate(states))[1:] if every else [(loop.steps, states[-1])]
            return [self._phi(weights, step, loop.shared, support) for step, weights in wanted]

    def _states(self, loop: InnerLoop) -> Iterator[Weights]:
        """The weights before the first step and after the others, with their derivatives."""
        return self.meta_gradient.states(loop)

    def _outputs(self, phi: Phi, x: Any, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        with self._kernels():
            return super()._outputs(phi, x, mask)

    def trajectory(self, support: Examples, classes: Bool[Tensor, "task way"] | None = None) -> Iterator[InnerState]:
        """Where the inner loop is before its first step and after every one; nothing to differentiate.

        Args:
            support, classes: as of `adapt`.

        Raises:
            TypeError, ValueError: as `adapt`.
        """
        support, resolved = self._ready(support, classes)
        self._look_into(support.x)
        loop = self._loop(support, resolved)
        states = enumerate(Exact().states(loop))
        while True:
            # Not around the yield: it would switch off the gradients of whoever asks for the next state.
            with torch.no_grad(), self._kernels():
                step, weights = next(states, (-1, {}))
                if step < 0:
                    return
                phi = self._phi(weights, step, loop.shared, support)
                slopes = loop.slopes(step, weights, loop.begin, loop.shared)
            yield InnerState(with_classes(phi, resolved), slopes)

    @property
    def _steps(self) -> int:
        return self.inner_steps if self.training or self.evaluation_steps is None else self.evaluation_steps

    def _learned(self) -> Shared:
        """Learned rates and tables (see `Shared`), for methods that have some."""
        return {"rates": {}, "tables": {}}

    def _loop(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> InnerLoop:
        """The inner loop on these supports."""
        learned = self._learned()
        weights: Weights = dict(self.predictor.named_parameters())
        begin = self._begin(weights)
        others = {name: w for name, w in weights.items() if name not in begin and name not in learned["tables"]}

        def gradients(step: int, weights: Weights, shared: Shared) -> Weights:
            return self._gradients(step, weights, shared, support, classes)

        shared: Shared = {"weights": others, **learned}
        return InnerLoop(begin, shared, self._steps, self.inner_rate, self.meta_gradient.pull, gradients)

    def _begin(self, weights: Weights) -> Weights:
        """Where the weights that adapt begin."""
        return {name: weights[name] for name in self._adapted}

    def _gradients(
        self,
        step: int,
        weights: Weights,
        shared: Shared,
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> Weights:
        """The gradient of every task's support loss."""
        others = {**shared["weights"], **{name: at_step(table, step) for name, table in shared["tables"].items()}}

        def of_one(support: Examples, classes: Tensor | None, weights: Weights) -> Weights:
            return grad(lambda weights: self._support_loss({**others, **weights}, support, classes))(weights)

        at_once = self._at_once(support.x)
        if step == 0:
            # All tasks stand at the same point: their convolutions are one, not a grouped one.
            return over_tasks(lambda support, classes: of_one(support, classes, weights), at_once, support, classes)
        return over_tasks(of_one, at_once, support, classes, weights)

    def _phi(self, weights: Weights, steps: int, shared: Shared, support: Examples) -> Phi:
        """What prediction needs after some steps; copies, since the optimizer changes θ in place."""
        tables = {name: at_step(table, steps) for name, table in shared["tables"].items()}
        weights = {
            **self._per_task(weights, steps, support.tasks),
            **self._per_task(tables, 0, support.tasks),
        }
        statistics = over_tasks(self._statistics, self._at_once(support.x), weights, support)
        return {"weights": weights, "statistics": statistics}

    def _per_task(self, weights: Weights, steps: int, tasks: int) -> Weights:
        """The weights after some steps, which have no task axis before the first."""
        return weights if steps else {name: w.expand(tasks, *w.shape).clone() for name, w in weights.items()}

    def _at_once(self, x: Any) -> int | None:
        return 1 if self._means is not None and self._means.looped else super()._at_once(x)

    def _kernels(self) -> contextlib.AbstractContextManager[Any]:
        """Where attention must be differentiated twice, its fused kernels are left aside."""
        fused = self._means is None or not self._means.plain_attention
        return contextlib.nullcontext() if fused else plain_attention()

    def _look_into(self, x: Any) -> None:
        """Once: find out by what means the network can be differentiated twice."""
        if self._means is None and self._may_look:
            self._means = looked_into(self.predictor, x, self._adapted)

    def _check_finite(self, weights: Weights, loop: InnerLoop) -> None:
        """Refuse inner loops that have exploded.

        Raises:
            ValueError: naming the first step after which a task's weights are not finite.
        """
        if not self._may_look or bool(torch.stack([w.detach().sum() for w in weights.values()]).isfinite().all()):
            return
        with torch.no_grad():
            for step, state in enumerate(Exact().states(loop)):
                if step == 0:
                    continue
                finite = torch.stack([w.isfinite().reshape(len(w), -1).all(1) for w in state.values()]).all(0)
                if not finite.all():
                    raise ValueError(
                        f"the inner loop exploded: after step {step} of {loop.steps} on support the weights of task "
                        f"{int((~finite).nonzero()[0])} are not finite; choose a smaller inner_rate (it is "
                        f"{self.inner_rate}) or fewer steps, or scale the data"
                    )
