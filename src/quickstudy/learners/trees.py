"""Regression trees grown greedily, one or many: what a practical person fits to a table.

    one tree:  split where the squared error falls most, until leaves are pure or deep enough
    boosting:  F_0 = mean of y,   F_m = F_{m−1} + rate · tree fitted to y − F_{m−1}

Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees", 1984; Friedman, "Greedy Function
Approximation: A Gradient Boosting Machine", Annals of Statistics 2001. The trees are grown by scikit-learn.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.lasso import flat
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Gaussian
from quickstudy.tasks.source import Kind

__all__ = ["GradientBoosting", "GreedyTree"]

_DEEPEST = 30


class _Trees(Learner):
    """A sum of trees, grown on the support alone, task by task, and asked for all tasks at once.

    A loop over tasks: every tree has another form, and scikit-learn's growing is compiled.

    φ holds the nodes of all trees, `[task, tree, node]` each: which coordinate is compared with which threshold, which
    nodes come next (a leaf is followed by itself) and the value; and `base` `[task]`, which is added. A task without
    examples has leaves of 0.
    """

    kinds = frozenset({"regression"})
    trainable = False
    optimizes = True
    self_contained = True
    depth: int
    trees: int = 1

    @abstractmethod
    def _grow(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[Any], float, float]:
        """The trees of one task, by what their values are multiplied, and what is added to their sum."""

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        return self._grown(_bounded(flat(support.x)), support)

    @torch.compiler.disable  # it would trace into scikit-learn
    def _grown(self, x: Float[Tensor, "task n width"], support: Examples) -> Phi:
        tasks, n = support.mask.shape
        form = (tasks, self.trees, min(2 ** (self.depth + 1), 2 * max(1, n)) - 1)
        coordinate, left, right = (np.zeros(form, dtype=np.int64) for _ in range(3))
        threshold, value = np.zeros(form), np.zeros(form)
        base = np.zeros(tasks)
        for task in range(tasks):
            real = support.mask[task]
            if not real.any():
                continue
            trees, factor, base[task] = self._grow(
                x[task, real].cpu().double().numpy(), support.y[task, real].cpu().double().numpy()
            )
            for number, tree in enumerate(trees):
                place = (task, number, slice(tree.node_count))
                own, leaf = np.arange(tree.node_count), tree.children_left < 0
                coordinate[place], threshold[place] = np.where(leaf, 0, tree.feature), tree.threshold
                left[place], right[place] = (
                    np.where(leaf, own, child) for child in (tree.children_left, tree.children_right)
                )
                value[place] = factor * tree.value[:, 0, 0]
        return {
            name: torch.from_numpy(array).to(x.device)
            for name, array in {
                "coordinate": coordinate, "left": left, "right": right, "threshold": threshold, "value": value,
                "base": base,
            }.items()
        }  # fmt: skip

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n 1"]:
        inputs = _bounded(flat(x))
        width = int(inputs.shape[2])
        if self._may_look and int(phi["coordinate"].max()) >= width:
            raise ValueError(f"x has {width} numbers per example, and phi compares number {phi['coordinate'].max()}")
        tasks, trees, nodes = phi["value"].shape
        node = torch.zeros(tasks, trees, inputs.shape[1], dtype=torch.int64, device=inputs.device)
        spread = inputs.mT[:, None].expand(-1, trees, -1, -1)  # [task, tree, width, query]
        for _ in range(min(self.depth, nodes // 2)):
            coordinate = phi["coordinate"].gather(2, node)
            asked = spread.gather(2, coordinate[:, :, None])[:, :, 0]
            low = asked <= phi["threshold"].gather(2, node)
            node = torch.where(low, phi["left"].gather(2, node), phi["right"].gather(2, node))
        total = phi["value"].gather(2, node).sum(1) + phi["base"][:, None]
        return total[..., None].to(flat(x).dtype)


def _bounded(x: Float[Tensor, "task n width"]) -> Float[Tensor, "task n width"]:
    """As scikit-learn's trees see inputs: in float32 (what is beyond has the largest number; order is all they use)."""
    most = torch.finfo(torch.float32).max
    return x.double().clamp(-most, most).float().double()


def _check_depth(depth: int) -> None:
    check_whole(depth=depth)
    if not 1 <= depth <= _DEEPEST:
        raise ValueError(f"depth must be of 1 … {_DEEPEST}, got {depth}")


@register
class GreedyTree(_Trees):
    """One regression tree on the support; nothing is learned across tasks.

    Args:
        depth: questions from the root to a leaf, at most.

    Raises:
        ValueError: a depth out of range.
    """

    def __init__(self, depth: int = 10) -> None:
        super().__init__(Gaussian())
        _check_depth(depth)
        self.depth = depth

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "GreedyTree":
        return cls(depth=3)

    def _grow(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[Any], float, float]:
        # Of two splits that are as good, the generator chooses.
        return [DecisionTreeRegressor(max_depth=self.depth, random_state=0).fit(x, y).tree_], 1.0, 0.0


@register
class GradientBoosting(_Trees):
    """Regression trees one after the other, each fitted to what those before it leave; nothing is learned across tasks.

    Args:
        trees: how many.
        rate: by which the values of each are multiplied.
        depth: questions from the root to a leaf, at most.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, trees: int = 50, rate: float = 0.1, depth: int = 4) -> None:
        super().__init__(Gaussian())
        check_whole(trees=trees)
        check_real(rate=rate)
        _check_depth(depth)
        if trees < 1 or not rate > 0:
            raise ValueError(f"trees must be at least 1 and rate positive, got {trees} and {rate}")
        self.trees, self.rate, self.depth = trees, rate, depth

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "GradientBoosting":
        return cls(trees=8, rate=0.3, depth=2)

    def _grow(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[Any], float, float]:
        model = GradientBoostingRegressor(
            n_estimators=self.trees, learning_rate=self.rate, max_depth=self.depth, random_state=0
        ).fit(x, y)
        return [tree.tree_ for tree in model.estimators_[:, 0]], self.rate, float(np.ravel(model.init_.constant_)[0])
