"""How far a way of differentiating through the inner loop is from the exact one.

    cosine = ⟨g, e⟩ / ‖g‖ ‖e‖,   relative error = ‖g − e‖ / ‖e‖

g is a meta-gradient, e the exact one at the same weights, on the same tasks, through the same inner steps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.learners import Exact, GradientLearner, MetaGradient
from quickstudy.tasks import TaskBatch

__all__ = ["MetaGradientError", "meta_gradient", "meta_gradient_error"]


@dataclass(frozen=True)
class MetaGradientError:
    """How far draws of a meta-gradient are from the exact one.

    Attributes:
        cosine: of the angle between the two, for every draw; 1 is the same direction.
        relative: the length of the difference, as a part of the length of the exact one, for every draw.
    """

    cosine: Float[Tensor, " draw"]
    relative: Float[Tensor, " draw"]


def meta_gradient(learner: GradientLearner, batch: TaskBatch) -> dict[str, Tensor]:
    """The gradient of the mean loss of a batch in training mode, by the name of the learned tensor.

    What the loss does not depend on has the gradient zero. Nothing is left behind in `.grad`, and the mode is what it
    was.

    Raises:
        TypeError, ValueError: the batch is malformed.
    """
    learned = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
    training = learner.training
    learner.train()
    try:
        slopes = torch.autograd.grad(learner(batch).mean(), list(learned.values()), allow_unused=True)
    finally:
        learner.train(training)
    return {
        name: torch.zeros_like(weight) if slope is None else slope
        for (name, weight), slope in zip(learned.items(), slopes, strict=True)
    }


def meta_gradient_error(
    learner: GradientLearner, batch: TaskBatch, reference: MetaGradient | None = None, draws: int = 1
) -> MetaGradientError:
    """Compare a learner's meta-gradient with the exact one.

    Both go through the same inner steps: where these are pulled towards θ, as those of `Implicit` are, the reference
    takes the pull as well. So the error is that of the derivative alone, not of another inner problem.

    Args:
        learner: whose `meta_gradient` is judged, with the weights that it has.
        batch: the tasks.
        reference: what it is compared with; `Exact` by default.
        draws: how many meta-gradients are compared. More than one makes sense where they are random, as those of
            `EvolutionStrategies`; the numbers come from torch's generator.

    Raises:
        TypeError: no learner with an inner loop.
        ValueError: no draw; the reference is zero, or pulls in another way than the learner's; the batch is malformed.
    """
    if not isinstance(learner, GradientLearner):
        raise TypeError(f"learner must be a GradientLearner such as MAML(…), got {type(learner).__name__}")
    check_whole(draws=draws)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    judged = learner.meta_gradient
    if reference is None:
        reference = Exact()
        reference.pull = judged.pull
    if reference.pull != judged.pull:
        raise ValueError(
            f"reference has the pull {reference.pull}, but the learner's inner steps {judged.pull}; with different "
            "steps the gradients are of different functions"
        )
    with _instead(learner, reference):
        expected = _flat(meta_gradient(learner, batch))
    size = expected.norm()
    if not size > 0:
        raise ValueError("the reference meta-gradient is zero, so that no error can be in proportion to it")
    found = torch.stack([_flat(meta_gradient(learner, batch)) for _ in range(draws)])
    lengths = found.norm(dim=1).clamp(min=torch.finfo(found.dtype).tiny)
    return MetaGradientError(found @ expected / (lengths * size), (found - expected).norm(dim=1) / size)


@contextmanager
def _instead(learner: GradientLearner, reference: MetaGradient) -> Iterator[None]:
    """The learner with another meta-gradient, for a while."""
    own = learner.meta_gradient
    learner.meta_gradient = reference
    try:
        yield
    finally:
        learner.meta_gradient = own


def _flat(gradient: dict[str, Tensor]) -> Float[Tensor, " number"]:
    """All of it as one vector, in float64: differences of what is nearly the same are taken."""
    return torch.cat([part.flatten().double() for part in gradient.values()])
