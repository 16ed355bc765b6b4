"""What in-context estimators share: several readings of one table, each with the columns in another order."""

from collections.abc import Callable
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from quickstudy.arguments import check_whole
from quickstudy.estimators.table_encoder import TableEncoder
from quickstudy.learners import InContextTransformer
from quickstudy.networks import TableNetwork
from quickstudy.rebuild import load
from quickstudy.tasks import Examples, Kind

__all__ = ["InContextEstimator"]

_ASKED_AT_ONCE = 512

Floats = NDArray[np.float64]
Scores = Callable[[Floats, NDArray], NDArray]


class InContextEstimator(BaseEstimator):
    """`fit` reads a table several times, and keeps what was read as one φ with a task for each reading.

    Class attributes:
        kind: of the tasks that the network was trained on.
        default: the file of the weights that come with the package.
    """

    kind: ClassVar[Kind]
    default: ClassVar[str]

    def __init__(
        self,
        weights: Path | str | None = None,
        *,
        readings: int = 8,
        most_rows: int = 256,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.weights, self.readings, self.most_rows, self.random_state = weights, readings, most_rows, random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _begin(self, x: Any, y: Any) -> tuple[Floats, NDArray]:
        """The table as numbers, once the arguments are checked and the weights are there."""
        check_whole(readings=self.readings, most_rows=self.most_rows)
        if min(self.readings, self.most_rows) < 1:
            raise ValueError(f"readings and most_rows must be at least 1, got {self.readings} and {self.most_rows}")
        self.encoder_ = TableEncoder()
        rows, targets = self.encoder_.fit(self, x, y)
        self.learner_ = self._learner()
        network = self.learner_.network
        assert isinstance(network, TableNetwork)  # as `_loaded` has seen to
        self.room_ = network.features
        return rows, targets

    def _orders(self, x: Floats, y: NDArray, score: Scores, generator: np.random.RandomState) -> Floats:
        """Choose the columns and their order in each reading; the table with these columns alone."""
        self.columns_ = _telling(x, y, self.room_, score)
        self.orders_ = np.stack([generator.permutation(len(self.columns_)) for _ in range(self.readings)])
        return x[:, self.columns_]

    def _read(self, x: Floats, rows: NDArray[np.int64], targets: NDArray, classes: torch.Tensor | None) -> None:
        """Adapt: reading r sees the rows `rows[r]` of x, and `targets[r]`."""
        with torch.no_grad():
            support = Examples.of(self._inputs(x, rows), torch.from_numpy(targets))
            self.phi_ = self.learner_.adapt(support, classes)

    def _ask(self, x: Any, take: Callable[[Any], torch.Tensor]) -> NDArray:
        """What `take` makes of the predictive distributions, `[reading, n, …]`, of rows of any number."""
        check_is_fitted(self)
        rows = self.encoder_.transform(self, x)[:, self.columns_]
        found = []
        with torch.no_grad():
            for at in range(0, len(rows), _ASKED_AT_ONCE):
                part = rows[at : at + _ASKED_AT_ONCE]
                inputs = self._inputs(part, np.broadcast_to(np.arange(len(part)), (self.readings, len(part))))
                found.append(take(self.learner_.predict(self.phi_, inputs)).numpy())
        return np.concatenate(found, 1)

    def _inputs(self, x: Floats, rows: NDArray[np.int64]) -> torch.Tensor:
        """`[reading, n, 2, features]`: the columns in the order of each reading, and where there are values."""
        turned = np.stack([x[row][:, order] for row, order in zip(rows, self.orders_, strict=True)])
        there = ~np.isnan(turned)
        inputs = np.zeros((*turned.shape[:2], 2, self.room_))
        inputs[:, :, 0, : x.shape[1]] = np.where(there, turned, 0.0)
        inputs[:, :, 1, : x.shape[1]] = there
        return torch.from_numpy(inputs)

    def _learner(self) -> InContextTransformer:
        if self.weights is not None:
            return _loaded(str(self.weights), self.kind)
        with as_file(files("quickstudy.estimators").joinpath(self.default)) as path:
            return _loaded(str(path), self.kind)


@lru_cache(maxsize=4)
def _loaded(path: str, kind: Kind) -> InContextTransformer:
    """In float64, and no one else's: it is shared by all that are fitted with these weights.

    Raises:
        ValueError: they are of something else.
    """
    learner = load(path)
    network, likelihood = getattr(learner, "network", None), getattr(learner, "likelihood", None)
    right = isinstance(learner, InContextTransformer) and isinstance(network, TableNetwork)
    if not right or learner.likelihood.kind != kind:
        raise ValueError(
            f"weights must be of an InContextTransformer for {kind} on a TableNetwork, as tabular-prior trains it; "
            f"{path} holds {type(learner).__name__} on {type(network).__name__} with {type(likelihood).__name__}"
        )
    return learner.double().eval().requires_grad_(False)


def _telling(x: Floats, y: NDArray, most: int, score: Scores) -> NDArray[np.int64]:
    """The columns to read, in their order: all, or those that by themselves tell most of the target."""
    if x.shape[1] <= most:
        return np.arange(x.shape[1])
    if len(np.unique(y)) < 2:
        return np.arange(most)
    counts = (~np.isnan(x)).sum(0)
    means = np.where(counts > 0, np.nansum(x, 0) / np.maximum(counts, 1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = score(np.where(np.isnan(x), means, x), y)
    return np.sort(np.argsort(-np.nan_to_num(found, nan=-1.0), kind="stable")[:most])
