"""The same training step of MAML, made in several ways: all leave the same meta-gradient in `.grad`, as is checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import higher
import torch
from torch import Tensor, nn
from torch.func import functional_call

from quickstudy.learners import MAML
from quickstudy.tasks import Examples, TaskBatch

try:
    import torchopt
except ImportError as error:
    raise SystemExit("torchopt is not installed; it comes with the extra 'bench'") from error

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """One training step, for those who loop over tasks: a plain module and what it is to learn.

    Attributes:
        module: from the inputs of a task to outputs.
        loss: of outputs and targets, up to a constant that of the learner it is compared with.
        batch: tasks without padding.
        inner_steps, rate: of descent on the support.
    """

    module: nn.Module
    loss: Loss
    batch: TaskBatch
    inner_steps: int
    rate: float

    @property
    def tasks(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Support inputs and targets, query inputs and targets, of every task."""
        support, query = self.batch.support, self.batch.query
        return list(zip(support.x, support.y, query.x, query.y, strict=True))


def with_higher(problem: Problem) -> None:
    """As the documentation of `higher` has it: a loop over tasks, gradients accumulated."""
    inner = torch.optim.SGD(problem.module.parameters(), lr=problem.rate)
    for x, y, query_x, query_y in problem.tasks:
        with higher.innerloop_ctx(problem.module, inner, copy_initial_weights=False) as (fast, fast_optimizer):
            for _ in range(problem.inner_steps):
                fast_optimizer.step(problem.loss(fast(x), y))
            (problem.loss(fast(query_x), query_y) / problem.batch.tasks).backward()


def with_torchopt(problem: Problem) -> None:
    """As the MAML example of TorchOpt has it: the module is put back after every task, one backward pass for all."""
    module = problem.module
    inner = torchopt.MetaSGD(module, lr=problem.rate)
    begin = torchopt.extract_state_dict(module, by="reference", detach_buffers=True)
    inner_begin = torchopt.extract_state_dict(inner, by="reference")
    losses = []
    for x, y, query_x, query_y in problem.tasks:
        for _ in range(problem.inner_steps):
            inner.step(problem.loss(module(x), y))
        losses.append(problem.loss(module(query_x), query_y))
        torchopt.recover_state_dict(module, begin)
        torchopt.recover_state_dict(inner, inner_begin)
    torch.stack(losses).mean().backward()


def by_clones(problem: Problem) -> None:
    """The way of learn2learn: for every task a clone of the weights in the graph, and a backward pass."""
    weights = dict(problem.module.named_parameters())
    for x, y, query_x, query_y in problem.tasks:
        fast = {name: weight.clone() for name, weight in weights.items()}
        for _ in range(problem.inner_steps):
            loss = problem.loss(functional_call(problem.module, fast, (x,)), y)
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: fast[name] - problem.rate * slope for name, slope in zip(fast, slopes, strict=True)}
        loss = problem.loss(functional_call(problem.module, fast, (query_x,)), query_y)
        (loss / problem.batch.tasks).backward()


LOOPS: dict[str, Callable[[Problem], None]] = {
    "higher": with_higher, "torchopt": with_torchopt, "clones": by_clones,
}  # fmt: skip


def ours(learner: nn.Module, batch: TaskBatch) -> None:
    learner(batch).mean().backward()


def meta_gradient_of(step: Callable[[], None], weights: Sequence[nn.Parameter]) -> list[Tensor]:
    """What a step leaves in `.grad`, which is empty before and after."""
    for weight in weights:
        weight.grad = None
    step()
    found = [weight.grad.clone() for weight in weights]
    for weight in weights:
        weight.grad = None
    return found


def check_same(problem: Problem, learner: MAML, loops: Sequence[str]) -> None:
    """All make the same step, in float64, where rounding cannot decide which side of a kink an activation is on.

    Raises:
        AssertionError: they do not.
    """
    weights = list(problem.module.parameters())
    batch = replace(problem.batch, support=_double(problem.batch.support), query=_double(problem.batch.query))
    # The learner and the module share their weights.
    learner.double()
    try:
        expected = meta_gradient_of(lambda: ours(learner, batch), weights)
        for name in loops:
            found = meta_gradient_of(lambda name=name: LOOPS[name](replace(problem, batch=batch)), weights)
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11, msg=name)
    finally:
        learner.float()


def _double(examples: Examples) -> Examples:
    return examples.map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf)


def training(step: Callable[[], None], optimizer: torch.optim.Optimizer, times: int = 1) -> Callable[[], None]:
    """So many training steps in a row."""

    def run() -> None:
        for _ in range(times):
            optimizer.zero_grad()
            step()
            optimizer.step()

    return run
