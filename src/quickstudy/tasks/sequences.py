"""Sequences of labelled examples whose last one is asked for: is its label in the sequence, or must it be known?

A network that reads the sequence can answer in two ways: look for what is alike in it (learning in context), or
remember the class from training (learning in weights). Which of the two it learns depends on how classes are
distributed over the sequences of training. Bursty ones show the class that is asked for several times, beside another
that comes as often; the others are independent draws of a distribution over classes, which may have a long tail.

Chan et al., "Data Distributional Properties Drive Emergent In-Context Learning in Transformers", NeurIPS 2022.
"""

import copy
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.episodes import Episodes, as_floats, bounds
from quickstudy.tasks.source import Split

__all__ = ["LabelledSequences", "Renamed"]

Asked: TypeAlias = Literal["any", "absent"]


class LabelledSequences(Split):
    """An endless stream of sequences (the support) with one query; labels are numbers of classes, and mean the same in
    all of them.

    Args:
        name: the split's name.
        examples: `[example, ...]`, the tensor to gather from.
        table: `[class, most]`, the rows of `examples` of each class, −1 where it has no more; class numbers are labels.
        length: examples of a sequence.
        burstiness: share of the sequences in which the query's class comes `burst` times, and another class as often;
            all classes of such a sequence differ otherwise. The other sequences are independent draws.
        burst: how often.
        exponent: of Zipf's law by which classes are drawn, the class of row r in proportion to 1 / (r + 1)^exponent.
        asked: `any` for the stream that is described here; with `absent` the sequence never shows the query's class,
            all its classes differ, and `burstiness` is 0: what can be answered then is known from training.

    Raises:
        ValueError: a number out of range, or a class without examples.
    """

    kind = "classification"
    size = None

    def __init__(
        self,
        name: str,
        examples: Tensor,
        table: NDArray[np.int64],
        length: int = 8,
        burstiness: float = 0.9,
        burst: int = 3,
        exponent: float = 0.0,
        asked: Asked = "any",
    ) -> None:
        check_whole(length=length, burst=burst)
        check_real(burstiness=burstiness, exponent=exponent)
        if not 0 <= burstiness <= 1 or exponent < 0:
            raise ValueError(
                f"burstiness must lie in 0 … 1 and exponent not be negative, got {burstiness} and {exponent}"
            )
        if burst < 1 or length < 2 * burst:
            raise ValueError(f"length must have room for two classes {burst} times each, got {length}")
        if asked not in get_args(Asked):
            raise ValueError(f"asked must be one of {', '.join(get_args(Asked))}, got {asked!r}")
        if asked == "absent" and burstiness:
            raise ValueError(f"burstiness must be 0 where the asked class is absent, got {burstiness}")
        sizes = (table >= 0).sum(1)
        if len(table) <= length or sizes.min() < 1:
            raise ValueError(
                f"table must have more than {length} classes, each with an example, got {len(table)} classes with "
                f"{sizes.min() if len(table) else 0} or more"
            )
        self.name, self.examples, self.table, self.length = name, examples, table, length
        self.burstiness, self.burst, self.exponent, self.asked = burstiness, burst, exponent, asked
        self.ways = len(table)
        self._sizes, self._weights = sizes, (1.0 + np.arange(len(table), dtype=np.float64)) ** -exponent

    def to(self, device: Any) -> "LabelledSequences":
        """The same sequences, gathered on `device`."""
        moved = copy.copy(self)
        moved.examples = self.examples.to(device)
        return moved

    def labels(self, first: int, count: int, seed: int) -> NDArray[np.int64]:
        """Classes `[task, length + 1]` of the draws `first` … `first + count − 1`; the last is the query's."""
        return self._drawn(first, count, seed)[0]

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The draws `first` … `first + count − 1`: support `[task, length]`, query `[task, 1]`."""
        labels, columns = self._drawn(first, count, seed)
        rows = torch.from_numpy(self.table[labels, columns]).to(self.examples.device)
        x = as_floats(self.examples.index_select(0, rows.flatten()).unflatten(0, rows.shape))
        y = torch.from_numpy(labels).to(x.device)
        classes = torch.ones(count, len(self.table), dtype=torch.bool, device=x.device)
        return TaskBatch(
            Examples.of(x[:, : self.length], y[:, : self.length]),
            Examples.of(x[:, self.length :], y[:, self.length :]),
            classes,
        )

    def _drawn(self, first: int, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Classes and columns of the table of every example; those of one class in one sequence are different examples
        as far as it has them."""
        total, classes, stream = self.length + 1, len(self.table), f"sequences/{self.name}/{self.asked}"
        uniform = draws.uniforms(seed, stream, first, count, 1 + classes + 3 * total)
        kind, keys, alone, order, place = np.split(uniform, np.cumsum([1, classes, total, total]), 1)
        differing = draws.weighted(keys, self._weights, total)
        if self.asked == "any":
            # Two classes `burst` times each, then others; the query is of the first.
            slots = np.concatenate([np.repeat([0, 1], self.burst), np.arange(2, 2 + self.length - 2 * self.burst), [0]])
            ends = np.cumsum(self._weights)
            independent = np.searchsorted(ends / ends[-1], alone, side="right").clip(max=classes - 1)
            labels = np.where(kind < self.burstiness, differing[:, slots], independent)
        else:
            labels = differing
        turned = np.argsort(order[:, : self.length], 1)
        labels[:, : self.length] = np.take_along_axis(labels[:, : self.length], turned, 1)
        # A class goes through its examples from a place of its own on.
        before = (labels[:, :, None] == labels[:, None]) & np.tri(total, k=-1, dtype=bool)
        start = place[:, [0]] * self._sizes[labels]
        spread = np.take_along_axis(place, labels % total, 1) * self._sizes[labels]
        columns = (np.floor(start + spread).astype(np.int64) + before.sum(2)) % self._sizes[labels]
        return labels, columns


class Renamed(Split):
    """Episodes whose classes are called by numbers of a vocabulary, drawn anew for every task.

    For a learner whose labels are a fixed vocabulary: what a class is called says nothing, and must be read.

    Args:
        episodes: of fixed or varying ways.
        vocabulary: how many numbers there are.

    Raises:
        ValueError: fewer than an episode has classes.
    """

    kind = "classification"

    def __init__(self, episodes: Episodes, vocabulary: int) -> None:
        check_whole(vocabulary=vocabulary)
        ways = bounds(episodes.shape.ways)[1]
        if vocabulary < ways:
            raise ValueError(f"vocabulary must be at least {ways}, the ways of episodes, got {vocabulary}")
        self.name, self.size = episodes.name, episodes.size
        self.episodes, self.ways, self.vocabulary = episodes, vocabulary, vocabulary

    def to(self, device: Any) -> "Renamed":
        """The same tasks, gathered on `device`."""
        return Renamed(self.episodes.to(device), self.vocabulary)

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The draws `first` … `first + count − 1`, as those of the episodes, with `classes` `[task, vocabulary]`."""
        batch = self.episodes.draw(first, count, seed)
        assert batch.classes is not None
        ways = batch.classes.shape[1]
        uniform = draws.uniforms(seed, f"renamed/{self.name}", first, count, 2 * ways)
        names = torch.from_numpy(draws.distinct(uniform, self.vocabulary)).to(batch.classes.device)
        exists = torch.zeros(count, self.vocabulary, dtype=torch.bool, device=names.device)
        exists = exists.scatter(1, names, batch.classes)
        for part in (batch.support, batch.query):
            part.y = torch.where(part.mask, names.gather(1, part.y), 0)
        return TaskBatch(batch.support, batch.query, exists)
