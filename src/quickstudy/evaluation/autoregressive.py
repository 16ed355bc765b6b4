"""Queries one after another, each answered knowing the ones before: any learner as a joint distribution.

    log p(y_1 … y_n | x_1 … x_n, D) = Σ_i log p(y_i | x_i, D ∪ {(x_1, y_1) … (x_{i−1}, y_{i−1})})

A learner that predicts every query apart so gives functions, and dependent predictions, without a latent variable and
without being trained anew. For the chain to be one distribution whatever the order of the queries, the predictions must
fit one another, as those of Bayes' rule do; a learned predictor's do so only nearly.

Bruinsma et al., "Autoregressive Conditional Neural Processes", ICLR 2023.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution
from torch.utils._pytree import tree_leaves, tree_map

from quickstudy import progress
from quickstudy.arguments import check_seed, check_whole
from quickstudy.evaluation.asked import check_asked
from quickstudy.evaluation.evaluate import Scores, checksum
from quickstudy.learners import Learner
from quickstudy.networks import evaluating
from quickstudy.tasks import Examples, Split, TaskBatch, Tree
from quickstudy.tasks.batch import whole_mask
from quickstudy.training.errors import naming_draws
from quickstudy.training.fabric import make_fabric, to_module

__all__ = ["Feeding", "evaluate_jointly", "joint_log_prob", "sample_jointly"]

Feeding: TypeAlias = Literal["adapt", "update"]
"""How a learner is told of an answered query: by adapting anew to all that is known, or by `update`."""


@torch.no_grad()
def joint_log_prob(learner: Learner, batch: TaskBatch, by: Feeding = "adapt") -> Float[Tensor, " task"]:
    """log p of all real queries of a task together, each given the true answers of those before it.

    Args:
        learner: put into evaluation mode meanwhile.
        batch: the tasks; queries are taken in the order in which they stand.
        by: how answers are fed back, `adapt` or `update` (faster, and the same where updates are exact).

    Raises:
        TypeError, ValueError: the batch is malformed, or an unknown way of feeding back.
        NotImplementedError: by `update`, and the learner has none.
    """
    _check(learner, by)
    batch.check()
    query = batch.query.inert()
    total = torch.zeros(query.tasks, dtype=torch.float64, device=query.mask.device)
    with evaluating(learner):
        chain = _Chain(learner, batch.support, batch.classes, by)
        for one in _one_by_one(query):
            log_prob = chain.predict(one.x, one.mask).log_prob(one.y)[:, 0]
            total += torch.where(one.mask[:, 0], log_prob, 0.0).double()
            chain.feed(one)
    return total


@torch.no_grad()
def sample_jointly(
    learner: Learner,
    support: Examples,
    x: Tree,
    *,
    samples: int = 1,
    seed: int = 0,
    classes: Bool[Tensor, "task way"] | None = None,
    by: Feeding = "adapt",
) -> Tensor:
    """Answers to queries `x` `[task, n, ...]` drawn together: functions of the learner's, `[task, sample, n, ...]`.

    Each is drawn from the prediction given those drawn before it.

    Args:
        learner: put into evaluation mode meanwhile.
        support: what is known.
        x: the queries, taken in the order in which they stand.
        samples: how many for every task.
        seed: of the draws; torch's global generator is left as it was.
        classes: which classes exist, as for `Learner.adapt`.
        by: as for `joint_log_prob`.

    Raises:
        TypeError, ValueError: something is malformed or out of range.
        NotImplementedError: by `update`, and the learner has none.
    """
    _check(learner, by)
    check_whole(samples=samples)
    check_seed(seed)
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    support.check("support")
    mask = whole_mask("x", x)
    if mask.shape[0] != support.tasks:
        raise ValueError(f"x must be of the {support.tasks} tasks of the support, got {mask.shape[0]}")

    def repeated(tree: Any) -> Any:
        return tree_map(lambda leaf: leaf.repeat_interleave(samples, 0), tree)

    drawn = []
    with evaluating(learner), torch.random.fork_rng():
        torch.manual_seed(seed)
        chain = _Chain(learner, repeated(support), None if classes is None else repeated(classes), by)
        # The inputs stand in for answers that are not there yet.
        for one in _one_by_one(Examples(repeated(x), repeated(mask), repeated(mask))):
            y = chain.predict(one.x, one.mask).sample()
            y = y.to(support.y.dtype)
            drawn.append(y)
            chain.feed(Examples(one.x, y, one.mask))
    return torch.cat(drawn, 1).unflatten(0, (support.tasks, samples))


def evaluate_jointly(
    learner: Learner,
    split: Split,
    *,
    tasks: int = 600,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    precision: Any = "32-true",
    by: Feeding = "adapt",
) -> Scores:
    """As `evaluate`, with one metric: `joint_nll`, −log p of all queries of a task together, by `joint_log_prob`,
    divided by their number.

    Raises:
        TypeError, ValueError: as `evaluate` and `joint_log_prob`.
        NotImplementedError: by `update`, and the learner has none.
    """
    _check(learner, by)
    check_asked(split, tasks=tasks, batch_size=batch_size)
    fabric = make_fabric(device, precision)
    tasks, values, asked = min(tasks, split.size or tasks), [], 0
    split = split.to(fabric.device)
    with (
        evaluating(learner, fabric.device),
        progress.bar("evaluating", tasks) as bar,
        torch.no_grad(),
        fabric.autocast(),
    ):
        first_task = split.draw(0, 1, seed)
        for first in range(0, tasks, batch_size):
            count = min(batch_size, tasks - first)
            batch = to_module(split.draw(first, count, seed), learner, fabric)
            with naming_draws(first, count, seed):
                values.append(-joint_log_prob(learner, batch, by) / batch.query.count)
            asked = zlib.crc32(batch.query.y[batch.query.mask].double().cpu().numpy().tobytes(), asked)
            bar.advance(count)
    asked = checksum([*tree_leaves(first_task.support.x), *tree_leaves(first_task.query.x)], asked)
    return Scores({"joint_nll": torch.cat(values).cpu().numpy()}, None, seed, split.name, asked)


class _Chain:
    """A learner, and what it has been told."""

    def __init__(self, learner: Learner, support: Examples, classes: Tensor | None, by: Feeding) -> None:
        self.learner, self.known, self.classes, self.by = learner, support.inert(), classes, by
        self.phi = learner.adapt(self.known, classes)

    def predict(self, x: Tree, mask: Bool[Tensor, "task 1"]) -> Distribution:
        return self.learner.predict(self.phi, x, mask)

    def feed(self, one: Examples) -> None:
        if self.by == "update":
            self.phi = self.learner.update(self.phi, one)
            return
        self.known = tree_map(lambda old, new: torch.cat([old, new], 1), self.known, one)
        self.phi = self.learner.adapt(self.known, self.classes)


def _one_by_one(query: Examples) -> Iterator[Examples]:
    for place in range(query.mask.shape[1]):
        yield tree_map(lambda leaf, place=place: leaf[:, place : place + 1], query)


def _check(learner: Any, by: Any) -> None:
    if not isinstance(learner, Learner):
        raise TypeError(f"learner must be a Learner, got {type(learner).__name__}")
    if by not in get_args(Feeding):
        raise ValueError(f"by must be one of {', '.join(get_args(Feeding))}, got {by!r}")
