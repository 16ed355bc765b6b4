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

from quickstudy.learners.phi import Phi, check_phi
from quickstudy.networks import Network, Policy, evaluating
from quickstudy.networks.vectorised import in_vmap
from quickstudy.tasks.batch import Examples, TaskBatch, Tree, check_classes, check_tree, masked_to_zero, whole_mask
from quickstudy.tasks.likelihood import MOST_WAYS, Likelihood, Reduction, reduced, seen_classes
from quickstudy.tasks.source import Kind

__all__ = ["Adapted", "Learner", "with_classes"]


class Learner(nn.Module, ABC):
    """A way of learning a task from its support set.

    `learner(batch)` is the loss of every task, so that a learner trains like any module. `adapt` and `predict` are its
    two halves.

    Padding may hold anything. Real examples with a value that is not finite, or of a class that does not exist, are
    refused; so is, by `predict`, a prediction that is not finite. (Compiled or inside `torch.vmap`, where data cannot
    be looked at, only their form is checked: there, such a task spoils its own results and no other's.)

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
        support, resolved = self._ready(support, classes)
        return with_classes(self._adapt(support, resolved), resolved)

    def outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"] | None = None) -> Float[Tensor, "task n outputs"]:
        """Raw outputs for `x` `[task, n, ...]`; `predict` gives them their meaning.

        Raises:
            TypeError, ValueError: `x` or `mask` is malformed, or `phi` is of other tasks or of another learner.
        """
        mask = whole_mask("x", x) if mask is None else mask
        check_tree("x", x, mask)
        check_phi(phi, mask.shape[0])
        x = masked_to_zero(x, mask)
        self._check_values("query", Examples(x, mask, mask))
        try:
            return self._outputs(phi, x, mask)
        except KeyError as error:
            raise ValueError(f"phi has no {error}; it must be what adapt of this very learner returned") from error

    def predict(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"] | None = None) -> Distribution:
        """The predictive distribution of y for `x` `[task, n, ...]`, with the batch shape `[task, n]`.

        Args:
            phi: what `adapt` returned, for the same tasks.
            x: inputs.
            mask: which of them are real; all by default.

        Raises:
            TypeError, ValueError: as `outputs`; or a prediction is not finite, since numbers grew beyond all bounds.
        """
        raw = self.outputs(phi, x, mask)
        if self._may_look and not torch.isfinite(raw.detach().sum()):
            real = whole_mask("x", x) if mask is None else mask
            _check_outputs(torch.where(real[..., None], raw.detach(), 0.0))
        return self.likelihood.distribution(raw, phi.get("classes"))

    def log_prob(self, phi: Phi, query: Examples) -> Float[Tensor, " task"]:
        """log p(query.y given query.x, φ), summed over the real examples of every task.

        Raises:
            TypeError, ValueError: the query is malformed, or of another form than the likelihood's.
        """
        query, classes = self._ready_query(phi, query)
        prediction = self.likelihood.distribution(self.outputs(phi, query.x, query.mask), classes)
        return reduced(prediction.log_prob(query.y), query.mask, "sum")

    def update(self, phi: Phi, examples: Examples) -> Phi:
        """φ after further examples of the same tasks, where the method can do that without seeing the old ones again.

        A class that is new to a task exists from then on.

        Raises:
            NotImplementedError: it cannot; adapt to all the examples instead.
            TypeError, ValueError: the examples are malformed, or of classes beyond those that φ has room for.
        """
        examples = self._checked("examples", examples)
        check_phi(phi, examples.tasks)
        if "classes" in phi:
            ways = phi["classes"].shape[1]
            if (examples.y >= ways).any():
                raise ValueError(
                    f"examples have the class {int(examples.y.max())}, but φ has room for {ways}; "
                    "adapt anew, with classes"
                )
            phi = {**phi, "classes": phi["classes"] | seen_classes(examples, ways)}
        self._check_values("examples", examples, phi.get("classes"))
        try:
            return self._update(phi, examples)
        except KeyError as error:
            raise ValueError(f"phi has no {error}; it must be what adapt of this very learner returned") from error

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

    def _ready(
        self, support: Examples, classes: Bool[Tensor, "task way"] | None
    ) -> tuple[Examples, Bool[Tensor, "task way"] | None]:
        """The support and its classes as `_adapt` takes them, once nothing is wrong with them."""
        support = self._checked("support", support)
        if classes is not None:
            check_classes(classes, support.tasks)
        resolved = self.likelihood.resolve_classes(support, classes)
        self._check_values("support", support, resolved)
        return support, resolved

    def _ready_query(self, phi: Phi, query: Examples) -> tuple[Examples, Bool[Tensor, "task way"] | None]:
        """The query as `log_prob` takes it, once nothing is wrong with it, and the classes that exist."""
        query, classes = self._checked("query", query), phi.get("classes")
        check_phi(phi, query.tasks)
        self._check_values("query", query, classes)
        return query, classes

    def _checked(self, name: str, examples: Examples) -> Examples:
        """The examples with their padding made inert, once their form is what the likelihood wants."""
        if not isinstance(examples, Examples):
            raise TypeError(f"{name} must be Examples, got {type(examples).__name__}")
        examples.check(name)
        self.likelihood.check(examples.y)
        return examples.inert()

    def _joined(
        self, batch: TaskBatch, likelihood: Likelihood | None = None
    ) -> tuple[Examples, Bool[Tensor, "task way"] | None]:
        """Support and query as one, checked, and the classes that exist, as a likelihood (the learner's) wants them."""
        batch.check()
        support, query = self._checked("support", batch.support), self._checked("query", batch.query)
        both = tree_map(lambda a, b: torch.cat([a, b], 1), support, query)
        classes = (likelihood or self.likelihood).resolve_classes(both, batch.classes)
        self._check_values("support", support, classes)
        self._check_values("query", query, classes)
        return both, classes

    @property
    def _may_look(self) -> bool:
        """Whether values can be looked at: neither the compiler nor vmap has any yet."""
        return not (torch.compiler.is_compiling() or in_vmap())

    def _check_values(self, name: str, examples: Examples, classes: Bool[Tensor, "task way"] | None = None) -> None:
        """Refuse real examples that no learner can do anything with."""
        if self._may_look:
            examples.check_values(name, classes)
            self.likelihood.check_values(name, examples)

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


def with_classes(phi: Phi, classes: Bool[Tensor, "task way"] | None) -> Phi:
    """φ that also says which classes exist."""
    return phi if classes is None else {**phi, "classes": classes}


def _check_outputs(raw: Float[Tensor, "task n outputs"]) -> None:
    """Refuse outputs that are not finite.

    Raises:
        ValueError: naming the first task that has one.
    """
    finite = torch.isfinite(raw).flatten(1).all(1)
    if not finite.all():
        raise ValueError(
            f"the prediction for x is not finite in task {int((~finite).nonzero()[0])}: its numbers grew beyond all "
            "bounds; scale the data, or look at the learner's rates and weights"
        )


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
        targets = tree_map(lambda leaf: leaf if leaf.is_floating_point() else leaf.to(whole), self._one_task("y", y))
        inputs, mask = self._one_task("x", x), whole_mask("y", targets)
        for leaf in tree_leaves(inputs):
            if leaf.ndim < 2 or leaf.shape[1] != mask.shape[1]:
                raise ValueError(
                    f"x and y must be examples of one task, [n, ...] alike, got x {tuple(leaf.shape[1:])} for "
                    f"{mask.shape[1]} targets"
                )
        support = Examples(inputs, targets, mask)
        support.check("support")
        self._known = mask.shape[1]
        learner.likelihood.check(support.y)
        exist = None
        if classes is not None:
            exist = _one_hot_classes(classes).to(self._device)
        exist = learner.likelihood.resolve_classes(support, exist)
        with evaluating(learner), torch.no_grad():
            self.phi = learner.adapt(support, exist)

    def __repr__(self) -> str:
        return f"Adapted({type(self.learner).__name__}, {self._known} examples)"

    def __call__(self, x: Any) -> Distribution:
        inputs = self._one_task("x", x)
        with evaluating(self.learner), torch.no_grad():
            outputs = self.learner.outputs(self.phi, inputs)
        _check_outputs(outputs)
        classes = self.phi.get("classes")
        return self.learner.likelihood.distribution(outputs[0], None if classes is None else classes[0])

    def _one_task(self, name: str, tree: Any) -> Tree:
        """`tree` as tensors with a task axis, on the learner's device, real numbers in its precision."""

        def convert(leaf: Any) -> Tensor:
            try:
                # Copied: tables lend arrays that may not be written to, which torch does not know.
                tensor = torch.as_tensor(leaf if isinstance(leaf, Tensor) else np.array(leaf), device=self._device)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name} must hold numbers, in rows of one length: {error}") from error
            return tensor.to(self._dtype if tensor.is_floating_point() else tensor.dtype)[None]

        return convert(tree) if isinstance(tree, list | tuple) else tree_map(convert, tree)


def _one_hot_classes(numbers: Any) -> Bool[Tensor, "1 way"]:
    """Which classes there are, from their numbers.

    Raises:
        ValueError: they are no class numbers.
    """
    try:
        known = np.asarray(numbers).astype(np.int64, casting="safe")
    except (TypeError, ValueError):
        known = np.array([-1])
    if known.ndim != 1 or not len(known) or known.min() < 0 or known.max() >= MOST_WAYS:
        raise ValueError(f"classes must be class numbers such as [0, 1, 2], below {MOST_WAYS}, got {numbers!r}")
    exist = torch.zeros(1, int(known.max()) + 1, dtype=torch.bool)
    exist[0, known] = True
    return exist
