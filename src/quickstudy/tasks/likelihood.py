"""Likelihoods: what a network's raw outputs mean, and so what the loss of a task is.

A task is data and a loss. The loss here is always −log p of a distribution, so that classification, regression and
whatever else are trained, adapted and scored by the same lines.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch import distributions as D

from quickstudy.arguments import check_real, check_whole
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.source import Kind

__all__ = [
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "Reduction",
    "likelihood_for",
    "reduced",
]

Reduction: TypeAlias = Literal["mean", "sum"]

# Where nothing says how many classes there are, a label is taken for a class number. A larger one is an identifier or a
# mistake, and a vector of that length for every example would fill the memory.
MOST_WAYS = 2**16


def reduced(
    log_prob: Float[Tensor, "task n"], mask: Bool[Tensor, "task n"], reduction: Reduction
) -> Float[Tensor, " task"]:
    """The sum over real examples, or their mean (0 for a task without examples).

    Raises:
        ValueError: `reduction` is neither `mean` nor `sum`.
    """
    total = torch.where(mask, log_prob, torch.zeros((), dtype=log_prob.dtype, device=log_prob.device)).sum(-1)
    if reduction == "sum":
        return total
    if reduction == "mean":
        return total / mask.sum(-1).clamp(min=1)
    raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")


class Likelihood(ABC):
    """From raw outputs `[task, n, outputs]` to a distribution with the batch shape `[task, n]` (or without the task
    axis, for one task).

    Attributes:
        kind: what the targets are.
        outputs: how many raw numbers a network must give per example.
    """

    kind: ClassVar[Kind]
    outputs: int

    @abstractmethod
    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Distribution:
        """The predictive distribution; classes that do not exist in a task get no probability."""

    @abstractmethod
    def check(self, y: Tree) -> None:
        """Refuse targets of another form: broadcast against predictions, they would give a loss that means nothing.

        Raises:
            TypeError: they are not a tensor, or of the wrong dtype.
            ValueError: their axes are not those of this likelihood.
        """

    def check_values(self, name: str, examples: Examples) -> None:  # noqa: B027 - most take any number
        """Refuse targets, of the form that `check` wants, that can have no probability; padding is zero.

        Raises:
            ValueError: naming the task and the value.
        """

    def log_prob(
        self,
        raw: Float[Tensor, "task n outputs"],
        examples: Examples,
        classes: Bool[Tensor, "task way"] | None = None,
        reduction: Reduction = "sum",
    ) -> Float[Tensor, " task"]:
        """log p(y) of the real examples, summed or averaged over them.

        Raises:
            TypeError, ValueError: as `check`.
        """
        self.check(examples.y)
        return reduced(self.distribution(raw, classes).log_prob(examples.y), examples.mask, reduction)

    def resolve_classes(
        self, support: Examples, classes: Bool[Tensor, "task way"] | None
    ) -> Bool[Tensor, "task outputs"] | None:
        """The classes of a task as this likelihood wants them (None where there are none).

        Raises:
            ValueError: the tasks are of another kind than this likelihood.
        """
        if classes is not None:
            raise ValueError(
                f"the tasks have classes, but the likelihood is {type(self).__name__}, for {self.kind}; use Categorical"
            )
        return None


@register
class Categorical(Likelihood):
    """One of several classes: raw outputs are unnormalised log probabilities.

    Args:
        ways: the most classes a task may have, which is the number of outputs; None when the learner takes tasks of
            any number of ways (prototypes need no output layer).
    """

    kind = "classification"

    def __init__(self, ways: int | None = None) -> None:
        if ways is not None:
            check_whole(ways=ways)
            if ways < 1:
                raise ValueError(f"ways must be at least 1, got {ways}")
        self.ways = ways

    @property
    def outputs(self) -> int:  # type: ignore[override]
        if self.ways is None:
            raise ValueError("this learner has an output layer: say how many classes, as in Categorical(ways=5)")
        return self.ways

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Categorical:
        raw = precise(raw)
        if classes is not None:
            raw = raw.masked_fill(~classes.unsqueeze(-2), -math.inf)
        return D.Categorical(logits=raw, validate_args=False)

    def check(self, y: Tree) -> None:
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.ndim != 2:
            raise TypeError(
                f"classification needs int64 class numbers y [task, n], got {_form(y)}; "
                "for real-valued targets build the learner with Gaussian()"
            )

    def resolve_classes(
        self, support: Examples, classes: Bool[Tensor, "task way"] | None
    ) -> Bool[Tensor, "task outputs"]:
        """`classes` padded to the number of outputs; without them, the classes seen in the support.

        Raises:
            ValueError: more classes than outputs, or no classes and a task without examples to infer them from.
        """
        if classes is None:
            if not support.mask.any(1).all():
                task = int((~support.mask.any(1)).nonzero()[0])
                raise ValueError(
                    f"classes must be given, since task {task} has no support: there is no label to tell them by"
                )
            labels = torch.where(support.mask, support.y, -1)
            wrong = support.mask & ((labels < 0) | (labels >= MOST_WAYS))
            if wrong.any():
                task, index = wrong.nonzero()[0].tolist()
                raise ValueError(
                    f"support.y is {int(labels[task, index])} for example {index} of task {task}; "
                    f"number the classes from 0 (up to {MOST_WAYS}, unless classes are given)"
                )
            ways = int(labels.max()) + 1 if self.ways is None else max(int(labels.max()) + 1, self.ways)
            classes = seen_classes(support, ways)
        if self.ways is None or classes.shape[1] == self.ways:
            return classes
        if classes.shape[1] > self.ways:
            raise ValueError(
                f"the learner was built for tasks of up to {self.ways} classes, but these have up to "
                f"{classes.shape[1]}; build it with Categorical(ways={classes.shape[1]})"
            )
        return F.pad(classes, (0, self.ways - classes.shape[1]))


@register
class Gaussian(Likelihood):
    """Real targets with normal noise.

    Args:
        targets: None for one number per example, y `[task, n]`; otherwise the length of y's last axis.
        variance: the variance of the noise, in squared units of the target; None to predict it, through a
            softplus, beside every mean. With 0.5, −log p is the squared error plus a constant, the loss of most
            meta-learning papers.
    """

    kind = "regression"

    def __init__(self, targets: int | None = None, variance: float | None = 0.5) -> None:
        if targets is not None:
            check_whole(targets=targets)
            if targets < 1:
                raise ValueError(f"targets must be None or at least 1, got {targets}")
        if variance is not None:
            check_real(variance=variance)
            if not variance > 0:
                raise ValueError(f"variance must be positive, or None to predict it, got {variance}")
        self.targets, self.variance = targets, variance

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return (self.targets or 1) * (2 if self.variance is None else 1)

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Distribution:
        raw = precise(raw)
        if self.variance is None:
            mean, spread = raw.chunk(2, -1)
            # The floor keeps one lucky example from dominating the loss.
            scale = (F.softplus(spread) + 1e-4).sqrt()
        else:
            mean, scale = raw, torch.full_like(raw, math.sqrt(self.variance))
        if self.targets is None:
            return D.Normal(mean[..., 0], scale[..., 0], validate_args=False)
        return D.Independent(D.Normal(mean, scale, validate_args=False), 1, validate_args=False)

    def log_prob(
        self,
        raw: Float[Tensor, "task n outputs"],
        examples: Examples,
        classes: Bool[Tensor, "task way"] | None = None,
        reduction: Reduction = "sum",
    ) -> Float[Tensor, " task"]:
        if self.variance is None or type(self).distribution is not Gaussian.distribution:
            return super().log_prob(raw, examples, classes, reduction)
        # What the distribution gives, without its tensors of scales: in short steps they take longer than the errors.
        self.check(examples.y)
        raw = precise(raw)
        squares = (raw[..., 0] - examples.y) ** 2 if self.targets is None else ((raw - examples.y) ** 2).sum(-1)
        constant = (self.targets or 1) / 2 * math.log(2 * math.pi * self.variance)
        return reduced(squares / (-2 * self.variance) - constant, examples.mask, reduction)

    def check(self, y: Tree) -> None:
        _check_real(y, "Gaussian")
        if self.targets is None and y.ndim != 2:
            raise ValueError(
                f"Gaussian() takes one number per example, y [task, n], got the shape {tuple(y.shape)}; "
                f"drop the last axes, or build it with Gaussian(targets={y.shape[-1]})"
            )
        if self.targets is not None and (y.ndim != 3 or y.shape[-1] != self.targets):
            raise ValueError(
                f"Gaussian(targets={self.targets}) takes y [task, n, {self.targets}], got the shape {tuple(y.shape)}"
            )


@register
class GaussianMixture(Likelihood):
    """One real target, whose distribution is a mixture of normal ones: it may have two places where it is likely.

    Raw outputs are, in this order, the unnormalised log weights, the means and the log variances of the components.

    Args:
        components: how many.
    """

    kind = "regression"

    def __init__(self, components: int) -> None:
        check_whole(components=components)
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.components = components

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return 3 * self.components

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Distribution:
        weights, mean, spread = precise(raw).chunk(3, -1)
        components = D.Normal(mean, (spread / 2).exp(), validate_args=False)
        which = D.Categorical(logits=weights, validate_args=False)
        return D.MixtureSameFamily(which, components, validate_args=False)

    def check(self, y: Tree) -> None:
        check_one_target(y, "GaussianMixture")


@register
class Bernoulli(Likelihood):
    """Yes or no: y `[task, n]` is 0 or 1, as floating point; the raw output is the log odds of 1."""

    kind = "binary"
    outputs = 1

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Bernoulli:
        return D.Bernoulli(logits=precise(raw)[..., 0], validate_args=False)

    def check(self, y: Tree) -> None:
        check_one_target(y, "Bernoulli")

    def check_values(self, name: str, examples: Examples) -> None:
        wrong = examples.mask & (examples.y != 0) & (examples.y != 1)
        if wrong.any():
            task, index = wrong.nonzero()[0].tolist()
            value = float(examples.y[task, index])
            raise ValueError(f"{name}.y is {value} for example {index} of task {task}; Bernoulli takes 0 and 1")


def precise(raw: Tensor) -> Tensor:
    """Half precision, as autocast may hand it over, as float32: in two digits, probabilities and near points drown."""
    return raw.float() if raw.dtype in (torch.float16, torch.bfloat16) else raw


def seen_classes(examples: Examples, ways: int) -> Bool[Tensor, "task way"]:
    """Which of the classes 0 … ways − 1 every task's real examples show."""
    labels = torch.where(examples.mask, examples.y, -1)
    return (labels[:, :, None] == torch.arange(ways, device=labels.device)).any(1)


def _check_real(y: Tree, name: str) -> None:
    if not isinstance(y, Tensor) or not y.is_floating_point():
        raise TypeError(f"{name} takes floating-point targets, got {_form(y)}; for class numbers use Categorical")


def check_one_target(y: Tree, name: str) -> None:
    """Refuse what is not one real number per example.

    Raises:
        TypeError, ValueError: it is something else.
    """
    _check_real(y, name)
    if y.ndim != 2:
        raise ValueError(f"{name} takes one number per example, y [task, n], got the shape {tuple(y.shape)}")


def _form(tree: Tree) -> str:
    return f"{tree.dtype} {tuple(tree.shape)}" if isinstance(tree, Tensor) else type(tree).__name__


def likelihood_for(kind: Kind, ways: int | None = None) -> Likelihood:
    """The usual likelihood of a kind of task: Categorical with `ways` outputs, Bernoulli, or Gaussian.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if kind == "classification":
        return Categorical(ways)
    return Bernoulli() if kind == "binary" else Gaussian()
