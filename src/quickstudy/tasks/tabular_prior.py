"""Tables that nobody has: classification and regression tasks drawn from random causal mechanisms.

    z_0 ~ N(0, I),   z_l = f_l(W_l z_{l−1}) + s_l ε_l   for l = 1 … depth

is a random structural causal model in layers: some causes have no effect, W_l is sparse, f_l one of several functions,
a node's noise its own.
In half of the tasks the columns of a table are nodes of it chosen at random, so that some cause the target, some are
caused by it, and some share a cause with it. In the other half they are the causes z_0 and the target is a node of the
last layer: the random network of Müller et al. Columns are then warped, cut into categories
whose codes have no order, and have holes. For classification the target is cut into classes of unequal size whose
numbers are shuffled.

A network that has learned to predict in such tables predicts in real ones.

Hollmann, Müller, Eggensperger & Hutter, "TabPFN: A Transformer That Solves Small Tabular Classification Problems in a
Second", ICLR 2023; Müller et al., "Transformers Can Do Bayesian Inference", ICLR 2022.
"""

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.arguments import check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import Range, bounds
from quickstudy.tasks.source import Split, TaskSource

__all__ = ["TabularPriorSplit", "tabular_prior"]

Floats = NDArray[np.float64]

_NODES = 8  # of a layer
_DEPTH = 3  # layers after the causes
_LEAST_SUPPORT = 8
_CATEGORIES = 8  # the most that a column has


def _functions(z: Floats) -> list[Floats]:
    """What a node may be of what it is caused by, kept to a scale at which the next layer can tell values apart."""
    return [z, np.tanh(2 * z), np.maximum(z, 0), np.abs(z), np.sin(2 * z), np.sign(z), z**2 / 2]


_FUNCTIONS = len(_functions(np.zeros(1)))


class TabularPriorSplit(Split):
    """An endless stream of tables; the splits differ in their random streams.

    Args:
        name: the split's name.
        kind: `classification` or `regression`.
        features: columns of a table, (fewest, most) or fixed. Inputs always have room for the most.
        shots: support rows, fixed or (least, most).
        queries: query rows per task.
        ways: classes of a table, (fewest, most) or fixed; for classification.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["classification", "regression"],
        features: Range,
        shots: Range,
        queries: int,
        ways: Range,
    ) -> None:
        if kind not in ("classification", "regression"):
            raise ValueError(f"kind must be 'classification' or 'regression', got {kind!r}")
        (fewest, columns), (low, high), (least, most) = bounds(features), bounds(shots), bounds(ways)
        check_whole(
            queries=queries,
            **{"least shots": low, "most shots": high, "fewest features": fewest, "most features": columns},
            **{"fewest ways": least, "most ways": most},
        )
        if not _LEAST_SUPPORT <= low <= high or queries < 1:
            raise ValueError(
                f"shots must be at least {_LEAST_SUPPORT} and queries at least 1, got {shots} and {queries}"
            )
        if not 1 <= fewest <= columns <= _NODES * _DEPTH:
            raise ValueError(f"features must lie in 1 … {_NODES * _DEPTH}, got {features}")
        if not 2 <= least <= most:
            raise ValueError(f"ways must be at least 2, got {ways}")
        if kind == "classification" and most > low:
            raise ValueError(f"ways must not exceed the least number of shots, {low}, got {ways}")
        self.name, self.kind, self.shots, self.queries = name, kind, shots, queries
        self.features, self.classes = features, ways
        self.ways = most if kind == "classification" else None

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; x `[task, n, 2, most features]`: values, and 1 where there is one.

        Columns that a table does not have are nowhere there. For regression y is standardised by the support.
        """
        (_, columns), (low, high) = bounds(self.features), bounds(self.shots)
        rows, most = high + self.queries, self.ways or 0

        def uniforms(what: str, *shape: int) -> Floats:
            each = math.prod(shape)
            return draws.uniforms(seed, f"tabular prior/{self.name}/{what}", first, count, each).reshape(count, *shape)

        model = _Model(
            uniforms("model", 4 + _DEPTH * (1 + 3 * _NODES)),
            uniforms("links", 2, _DEPTH, _NODES, _NODES),
            uniforms("noise", rows, 1 + _DEPTH, _NODES),
        )
        roles = uniforms("roles", 5 + (1 + _DEPTH) * _NODES)
        # Half of the tasks predict an effect from causes, half any node of the model from any others.
        effects = roles[:, 0] < 0.5
        target = draws.integers(roles[:, 1], _NODES, (1 + _DEPTH) * _NODES - 1)[:, None]
        keys = roles[:, 5:]
        keys[:, :_NODES] -= effects[:, None] * (1.0 + model.active)
        np.put_along_axis(keys, target, 2.0, 1)  # the target is no column
        chosen = np.argsort(keys, 1)[:, :columns]
        x = np.take_along_axis(model.nodes, chosen[:, None], 2)
        y = np.take_along_axis(model.nodes, target[:, None], 2)[..., 0]
        x = _categorical(_warped(_unit(x), uniforms("warps", columns)), uniforms("categories", 1 + 11 * columns))
        # In half of the tables a share of up to three tenths is missing at random.
        share = np.maximum(roles[:, 2] - 0.5, 0) * 0.6
        there = np.arange(columns) < draws.integers(roles[:, 3], *bounds(self.features))[:, None]
        present = there[:, None] & (uniforms("holes", rows, columns) >= share[:, None, None])
        inputs = torch.from_numpy(np.stack([np.where(present, x, 0.0), present], 2)).float()
        learned = np.arange(high) < draws.integers(roles[:, 4], low, high)[:, None]
        mask = torch.from_numpy(learned)
        classes = None
        if self.kind == "regression":
            targets = torch.from_numpy(standardised(y, learned)).float()
        else:
            # Rows that are padding have no say in where the classes part.
            real = np.concatenate([learned, np.ones((count, self.queries), bool)], 1)
            labels, ways = _labels(y, real, uniforms("classes", 1 + 2 * most), bounds(self.classes))
            targets = torch.from_numpy(labels)
            classes = torch.from_numpy(np.arange(most) < ways[:, None])
        support = Examples(inputs[:, :high], targets[:, :high], mask)
        return TaskBatch(support, Examples.of(inputs[:, high:], targets[:, high:]), classes)


class _Model:
    """T structural causal models, run.

    Attributes:
        nodes: `[task, row, node]`, layer after layer, the causes first.
        active: `[task, cause]`: which causes have an effect.
    """

    def __init__(self, traits: Floats, links: Floats, noise: Floats) -> None:
        causes, density, level, uniform, kinds, spread, offset = np.split(
            traits, np.cumsum([1, 1, 1, 1, _DEPTH * (1 + _NODES), _DEPTH * _NODES]), 1
        )
        count = len(traits)
        number = draws.integers(causes, 2, _NODES)
        self.active = np.arange(_NODES) < number
        # Few causes make sharp dependencies, many a blur. Every node has one: in the first layer, one that is active.
        linked = (links[:, 1] < (0.05 + 0.4 * density)[..., None, None]) | np.eye(_NODES, dtype=bool)
        linked[:, 0] = (linked[:, 0] & self.active[:, None]) | (
            (np.arange(_NODES) % number)[..., None] == np.arange(_NODES)
        )
        weights = draws.normals(links[:, 0]) * linked / np.sqrt(linked.sum(-1, keepdims=True))
        # In half of the tables all nodes of a layer have the same function, in the others each its own.
        common, own = kinds[:, :_DEPTH, None], kinds[:, _DEPTH:].reshape(count, _DEPTH, _NODES)
        function = draws.integers(np.where(uniform[..., None] < 0.5, common, own), 0, _FUNCTIONS - 1)
        scale = 10.0 ** (-2.5 + 2 * level[..., None]) * np.exp(draws.normals(spread).reshape(count, _DEPTH, _NODES) / 2)
        shift = draws.normals(offset).reshape(count, _DEPTH, _NODES)
        noise = draws.normals(noise)
        layers = [noise[:, :, 0]]
        for depth in range(_DEPTH):
            caused = np.matmul(layers[-1], weights[:, depth].transpose(0, 2, 1)) + shift[:, depth, None]
            which = np.broadcast_to(function[:, depth, None], caused.shape)
            layers.append(np.choose(which, _functions(caused)) + scale[:, depth, None] * noise[:, :, 1 + depth])
        self.nodes = np.concatenate(layers, 2)


def _unit(x: Floats) -> Floats:
    return (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-9)


def _warped(x: Floats, uniform: Floats) -> Floats:
    """Some columns with heavy tails, some squeezed."""
    warps = [x, np.exp(np.clip(x, -4, 4)), np.sign(x) * np.abs(x) ** 1.7, np.tanh(x)]
    which = np.searchsorted([0.6, 0.75, 0.9], uniform)[:, None]
    return np.choose(np.broadcast_to(which, x.shape), warps)


def _categorical(x: Floats, uniform: Floats) -> Floats:
    """Some columns cut into categories, whose codes are in order or, more often, not."""
    columns = x.shape[2]
    share, cut, number, ordered, keys = np.split(uniform, np.cumsum([1, columns, columns, columns]), 1)
    categorical = cut < np.maximum(share - 0.4, 0)  # none in four tables of ten
    rank = np.argsort(np.argsort(x, 1), 1) / x.shape[1]
    code = np.floor(rank * draws.integers(number, 2, _CATEGORIES)[:, None]).astype(np.int64)
    names = np.argsort(keys.reshape(-1, columns, _CATEGORIES), 2)
    shuffled = np.take_along_axis(names, code.transpose(0, 2, 1), 2).transpose(0, 2, 1)
    code = np.where((ordered < 0.3)[:, None], code, shuffled)
    return np.where(categorical[:, None], code.astype(np.float64), x)


def _labels(
    y: Floats, real: NDArray[np.bool_], uniform: Floats, number: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class numbers `[task, row]`, and how many classes each table has."""
    most = number[1]
    ways = draws.integers(uniform[:, 0] ** 2, *number)  # most tables that there are have few classes
    exists = np.arange(most) < ways[:, None]
    # How much of the table each class has: from a fifth of the mean share on.
    size = np.where(exists, 0.2 - np.log1p(-uniform[:, 1 : 1 + most]), 0.0)
    ends = np.cumsum(size, 1) / size.sum(1, keepdims=True)
    ends[:, -1] = np.inf
    ends = np.where(exists[:, 1:], ends[:, :-1], np.inf)
    rank = np.argsort(np.argsort(np.where(real, y, np.inf), 1), 1) / real.sum(1, keepdims=True)
    code = (rank[..., None] >= ends[:, None]).sum(-1)
    names = np.argsort(np.where(exists, uniform[:, 1 + most :], 2.0), 1)
    return np.take_along_axis(names, code, 1), ways


def standardised(y: Floats, real: NDArray[np.bool_]) -> Floats:
    real = np.concatenate([real, np.zeros((len(y), y.shape[1] - real.shape[1]), bool)], 1)
    mean, spread = y.mean(1, where=real, keepdims=True), y.std(1, where=real, keepdims=True)
    return np.clip((y - mean) / (spread + 1e-9), -10, 10)


def tabular_prior(
    kind: Literal["classification", "regression"] = "classification",
    features: Range = (2, 24),
    shots: Range = (16, 128),
    queries: int = 32,
    ways: Range = (2, 10),
) -> TaskSource:
    """Tables drawn from random causal mechanisms, to train a learner for tables on.

    Args:
        kind: `classification` or `regression`.
        features: columns of a table, (fewest, most) or fixed. Inputs always have room for the most.
        shots: support rows, fixed or (least, most).
        queries: query rows per task.
        ways: classes of a table, (fewest, most) or fixed, the fewer the more often; for classification.

    Raises:
        ValueError: an unknown kind, or a number out of range.
    """
    train, validation, test = (
        TabularPriorSplit(name, kind, features, shots, queries, ways) for name in ("train", "validation", "test")
    )
    protocol = {"data": "tabular prior", "kind": kind, "features": features, "shots": shots, "queries": queries}
    return TaskSource(train, validation, test, protocol | ({"ways": ways} if kind == "classification" else {}))
