"""What adapts: from the support set of a task to φ, and from φ to predictions.

Every method of the field is a choice of that map and of what is learned across tasks. A method is a subclass with two
functions, `_adapt` and `_outputs`; what all share stands here: padding made inert, absent classes masked, the loss of a
batch, the friendly face.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils._pytree import tree_leaves, tree_map

from quickstudy.learners.phi import Phi
from quickstudy.networks import Network, Policy
from quickstudy.tasks.batch import Examples, TaskBatch, Tree, masked_to_zero
from quickstudy.tasks.likelihood import Likelihood, Reduction, reduced, seen_classes
from quickstudy.tasks.source import Kind

__all__ = ["Adapted", "Learner"]


class Learner(nn.Module, ABC):
    """A way of learning a task from its support set.

    `learner(batch)` is the loss of every task, so that a learner trains like any module. `adapt` and `predict` are its
    two halves.

    Args:
        likelihood: what the raw outputs mean.
        reduction: whether the loss of a task is the mean or the sum over its query examples.

    Class attributes, which state what the common contract test holds a method to:
        kinds: the kinds of task it can learn.
        trainable: it has something to learn across tasks; otherwise `fit` refuses it.
        order_matters: φ may depend on the order of the support set.
        optimizes: it trains with an optimizer inside `adapt` (and so compiles in parts, not as one graph).
        adapts: a support makes its predictions better; False only where ignoring it is the point.
        embeds: it reads inputs through its `network` alone, whose weights adaptation leaves as they are. So where the
            network treats each example by itself, many tasks on the same examples can be scored embedding each once.
        self_contained: φ holds all the weights that prediction uses; otherwise `predict` also reads the learner's own,
            and a φ belongs with the learner that made it. (It may depend on the instance.)
    """

    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification", "binary", "regression"})
    trainable: ClassVar[bool] = True
    order_matters: ClassVar[bool] = False
    optimizes: ClassVar[bool] = False
    adapts: ClassVar[bool] = True
    embeds: ClassVar[bool] = False
    self_contained: bool = False

    def __init__(self, likelihood: Likelihood, reduction: Reduction = "mean") -> None:
        super().__init__()
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"likelihood must be a Likelihood such as Categorical(ways=5), got {likelihood!r}")
        if likelihood.kind not in self.kinds:
            raise ValueError(
                f"{type(self).__name__} learns {' and '.join(sorted(self.kinds))}, "
                f"but the likelihood {type(likelihood).__name__} is for {likelihood.kind}"
            )
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        self.likelihood, self.reduction = likelihood, reduction

    @classmethod
    @abstractmethod
    def example(cls, kind: Kind, normalization: Policy) -> "Learner":
        """A small instance for tasks of at most 4 classes, or one target, and inputs `[task, n, 6]`.

        The common contract test is run on it.
        """

    @abstractmethod
    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        """φ from a support set whose padding is zero and whose classes are as the likelihood wants them."""

    @abstractmethod
    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        """Raw outputs for inputs whose padding is zero."""

    def adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None = None) -> Phi:
        """Learn T tasks from their support sets.

        Args:
            support: examples `[task, n]`; a task may have none.
            classes: which classes exist; by default those seen in the support.

        Returns:
            φ, with the task axis first in every tensor.

        Raises:
            TypeError, ValueError: the support is malformed, or of another kind than the learner's likelihood.
        """
        support.check("support")
        self.likelihood.check(support.y)
        support = support.inert()
        resolved = self.likelihood.resolve_classes(support, classes)
        phi = self._adapt(support, resolved)
        return phi if resolved is None else {**phi, "classes": resolved}

    def outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"] | None = None) -> Float[Tensor, "task n outputs"]:
        """Raw outputs for `x` `[task, n, ...]`; `predict` gives them their meaning."""
        if mask is None:
            first = tree_leaves(x)[0]
            mask = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)
        return self._outputs(phi, masked_to_zero(x, mask), mask)

    def predict(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"] | None = None) -> Distribution:
        """The predictive distribution of y for `x` `[task, n, ...]`, with the batch shape `[task, n]`.

        Args:
            phi: what `adapt` returned, for the same tasks.
            x: inputs.
            mask: which of them are real; all by default.
        """
        return self.likelihood.distribution(self.outputs(phi, x, mask), phi.get("classes"))

    def log_prob(self, phi: Phi, query: Examples) -> Float[Tensor, " task"]:
        """log p(query.y given query.x, φ), summed over the real examples of every task.

        Raises:
            TypeError, ValueError: the targets are of another form than the likelihood's.
        """
        self.likelihood.check(query.y)
        query = query.inert()
        return reduced(self.predict(phi, query.x, query.mask).log_prob(query.y), query.mask, "sum")

    def update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after further examples of the same tasks, where the method can do that without seeing the old ones again.

        A class that is new to a task exists from then on.

        Raises:
            NotImplementedError: it cannot; adapt to all the examples instead.
            TypeError, ValueError: the examples are malformed, or of classes beyond those that φ has room for.
        """
        examples.check("examples")
        self.likelihood.check(examples.y)
        examples = examples.inert()
        if "classes" not in phi:
            return self._update(phi, examples)
        ways = phi["classes"].shape[1]
        if (examples.y >= ways).any():
            raise ValueError(
                f"examples have the class {int(examples.y.max())}, but φ has room for {ways}; adapt anew, with classes"
            )
        return self._update({**phi, "classes": phi["classes"] | seen_classes(examples, ways)}, examples)

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after examples whose padding is zero."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot add examples to φ; adapt to the old and the new ones together"
        )

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The loss of every task: −log p of its query, given φ of its support.

        Raises:
            TypeError, ValueError: the batch is malformed.
        """
        batch.check()
        phi = self.adapt(batch.support, batch.classes)
        return self._per_example(-self.log_prob(phi, batch.query), batch.query.mask)

    def _per_example(self, total: Float[Tensor, " task"], mask: Bool[Tensor, "task n"]) -> Float[Tensor, " task"]:
        return total / mask.sum(1).clamp(min=1) if self.reduction == "mean" else total

    @property
    def normalization(self) -> str:
        """The normalization policy of the learner's network, for result cards."""
        return next((part.normalization for part in self.modules() if isinstance(part, Network)), "none")

    def adapted(self, x: Any, y: Any, classes: Any = None) -> "Adapted":
        """Learn one task and get back something to call.

        Args:
            x: inputs `[n, ...]` of one task, tensor or array (or a tree of them).
            y: targets `[n, ...]`; class numbers from 0 for classification.
            classes: the class numbers that exist, when the support does not show them all.

        Raises:
            TypeError, ValueError: inputs and targets do not fit each other or the learner.
        """
        return Adapted(self, x, y, classes)


class Adapted:
    """A learner that has learned one task: `adapted(x)` is the predictive distribution, with the batch shape `[n]`.

    Attributes:
        learner: the learner; used in evaluation mode.
        phi: φ of the task, its task axis of length one.
    """

    def __init__(self, learner: Learner, x: Any, y: Any, classes: Any = None) -> None:
        self.learner = learner
        weight = next(learner.parameters(), torch.empty(0))
        self._device, self._dtype = weight.device, weight.dtype
        # Whole numbers are class numbers, or quantities, whatever their width.
        whole = torch.int64 if learner.likelihood.kind == "classification" else self._dtype
        targets = tree_map(lambda leaf: leaf if leaf.is_floating_point() else leaf.to(whole), self._one_task(y))
        support = Examples.of(self._one_task(x), targets)
        support.check("support")
        learner.likelihood.check(support.y)
        exist = None
        if classes is not None:
            numbers = torch.as_tensor(classes, device=self._device)
            exist = torch.zeros(1, int(numbers.max()) + 1, dtype=torch.bool, device=self._device)
            exist[0, numbers] = True
        exist = learner.likelihood.resolve_classes(support, exist)
        TaskBatch(support, support, exist).check_values()
        with _Evaluating(learner), torch.no_grad():
            self.phi = learner.adapt(support, exist)

    def __call__(self, x: Any) -> Distribution:
        inputs = self._one_task(x)
        with _Evaluating(self.learner), torch.no_grad():
            outputs = self.learner.outputs(self.phi, inputs)
        classes = self.phi.get("classes")
        return self.learner.likelihood.distribution(outputs[0], None if classes is None else classes[0])

    def _one_task(self, tree: Any) -> Tree:
        """`tree` as tensors with a task axis, on the learner's device, real numbers in its precision."""

        def convert(leaf: Any) -> Tensor:
            # Copied: tables lend arrays that may not be written to, which torch does not know.
            tensor = torch.as_tensor(leaf if isinstance(leaf, Tensor) else np.array(leaf), device=self._device)
            return tensor.to(self._dtype if tensor.is_floating_point() else tensor.dtype)[None]

        return convert(tree) if isinstance(tree, list | tuple) else tree_map(convert, tree)


class _Evaluating:
    """Evaluation mode for a while; afterwards as it was."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._was = module, module.training

    def __enter__(self) -> None:
        self._module.eval()

    def __exit__(self, *_: object) -> None:
        self._module.train(self._was)
