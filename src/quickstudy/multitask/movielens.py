"""MovieLens-100K in its own format, as two tasks: what a user takes rather than another film, and how it is rated.

Harper & Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015. Its licence forbids passing it on; the
files are those that its publisher has.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real
from quickstudy.multitask.batch import SharedBatch
from quickstudy.multitask.named import NamedTasks
from quickstudy.multitask.shared import SharedSplit
from quickstudy.tasks import draws
from quickstudy.tasks.source import SPLITS

__all__ = ["MovieLens", "RatedSplit", "movielens"]

Integers = NDArray[np.int64]

_FIELDS = {"u.data": 4, "u.item": 24, "u.user": 5}
_SEPARATORS = {"u.data": "\t", "u.item": "|", "u.user": "|"}
_GENRES = 19


class RatedSplit(SharedSplit):
    """What was rated, each beside an item `other` that the user did not rate, drawn anew for every draw.

    Args:
        name: the split's name.
        user, item: numbers `[n]` of what was rated.
        rating: in stars.
        rated: which items a user rated, in this split or before it, so that they are never `other`.
    """

    def __init__(self, name: str, user: Tensor, item: Tensor, rating: Tensor, rated: Bool[Tensor, "user item"]) -> None:
        there = torch.ones(len(user), dtype=torch.bool, device=user.device)
        super().__init__(
            name,
            {"user": user, "item": item},
            {"watch": torch.ones_like(rating), "rating": rating},
            {"watch": there, "rating": there},
        )
        self.rated = rated
        # Of every user, the items that were not rated come first.
        self._free, self._count = rated.int().argsort(dim=1, stable=True), (~rated).sum(1)

    def to(self, device: Any) -> "RatedSplit":
        """The same examples on `device`."""
        leaves = (self.x["user"], self.x["item"], self.y["rating"], self.rated)
        user, item, rating, rated = (leaf.to(device) for leaf in leaves)
        return RatedSplit(self.name, user, item, rating, rated)

    def draw(self, first: int, count: int, seed: int) -> SharedBatch:
        """The draws `first` … `first + count − 1`."""
        batch = super().draw(first, count, seed)
        user = batch.x["user"][0]
        uniform = draws.uniforms(seed, f"movielens/{self.name}/other", first, count, 1)[:, 0]
        free = self._count[user]
        place = (torch.from_numpy(uniform).to(user.device) * free).long().clamp(max=free - 1)
        batch.x = batch.x | {"other": self._free[user, place][None]}
        return batch


@dataclass(frozen=True)
class MovieLens(NamedTasks):
    """The tasks `watch` and `rating`; `movielens` reads them.

    Attributes:
        train, validation, test: of every user the earliest ratings, later ones, and the latest.
        before: by split, which items a user had rated before it: no candidates for a list.
        relevant: by split, which items a user rates in it.
        genres: of every film, 19 flags.
        titles: of the films.
        ages: of the users, in years.
    """

    before: dict[str, Bool[Tensor, "user item"]]
    relevant: dict[str, Bool[Tensor, "user item"]]
    genres: Float[Tensor, "item genre"]
    titles: tuple[str, ...]
    ages: Float[Tensor, " user"]


def movielens(folder: Path | str, *, validation: float = 0.1, test: float = 0.1) -> MovieLens:
    """The ratings of every user in the order of their times: the latest are the test, those before them the validation.

    An example is a rating, of 1 to 5 stars, and beside it an item that the user rated in no split up to then, for
    `BPR`. Ratings of one second are ordered as in the file.

    Args:
        folder: where `u.data`, `u.item` and `u.user` of MovieLens-100K are.
        validation, test: shares of each user's ratings, rounded.

    Raises:
        FileNotFoundError: a file is not there; the message says where the publisher has it.
        ValueError: a file is damaged, a split is left empty, or a user has rated everything.
    """
    check_real(validation=validation, test=test)
    if min(validation, test) <= 0 or validation + test >= 1:
        raise ValueError(f"validation and test must be positive shares of less than 1 in all, got {validation}, {test}")
    if not isinstance(folder, str | Path):
        raise TypeError(f"folder must be the path of the files of MovieLens-100K, got {folder!r}")
    tables = {name: _rows(Path(folder) / name) for name in _FIELDS}
    ratings = _numbers(Path(folder) / "u.data", tables["u.data"], (0, 1, 2, 3))
    films = _numbers(Path(folder) / "u.item", tables["u.item"], (0, *range(24 - _GENRES, 24)))
    people = _numbers(Path(folder) / "u.user", tables["u.user"], (0, 1))
    users, items = len(people), len(films)
    user, item, stars, time = ratings.T
    for name, numbers, count, ids in (("user", user, users, people[:, 0]), ("item", item, items, films[:, 0])):
        if not np.array_equal(ids, np.arange(1, count + 1)):
            raise ValueError(f"u.{name} must number its lines from 1 to {count}, got {ids[:3].tolist()} …")
        outside = numbers[(numbers < 1) | (numbers > count)]
        if len(outside):
            raise ValueError(f"u.data names the {name} {outside[0]}, but u.{name} has those from 1 to {count}")
    outside = stars[(stars < 1) | (stars > 5)]
    if len(outside):
        raise ValueError(f"u.data has a rating of {outside[0]} stars; they are from 1 to 5")
    pairs, times = np.unique(user * (items + 1) + item, return_counts=True)
    if times.max() > 1:
        twice, which = divmod(int(pairs[times.argmax()]), items + 1)
        raise ValueError(f"u.data has the user {twice} rate the item {which} more than once")
    user, item = user - 1, item - 1
    split = _split(user, time, validation, test)
    seen = torch.zeros(users, items, dtype=torch.bool)
    parts, before, relevant = {}, {}, {}
    for number, name in enumerate(SPLITS):
        mine = np.flatnonzero(split == number)
        if not len(mine):
            raise ValueError(f"u.data has {len(user)} ratings; shares of {validation} and {test} leave {name} empty")
        here = torch.zeros_like(seen)
        here[user[mine], item[mine]] = True
        before[name], relevant[name], seen = seen, here, seen | here
        if seen.all(1).any():
            raise ValueError(f"user {int(seen.all(1).nonzero()[0]) + 1} rated every item; no other is left to compare")
        who, what, how = (torch.from_numpy(each[mine]) for each in (user, item, stars))
        parts[name] = RatedSplit(name, who, what, how.float(), seen)
    return MovieLens(
        **parts,
        before=before,
        relevant=relevant,
        genres=torch.from_numpy(films[:, 1:]).float(),
        titles=tuple(row[1] for row in tables["u.item"]),
        ages=torch.from_numpy(people[:, 1]).float(),
    )


def _split(user: Integers, time: Integers, validation: float, test: float) -> Integers:
    """0, 1 or 2 for every rating: train, validation, test, by its place among those of its user."""
    order = np.lexsort((np.arange(len(user)), time, user))
    count = np.bincount(user)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    place = np.empty(len(user), dtype=np.int64)
    place[order] = np.arange(len(user)) - starts[user[order]]
    last = count - np.round(test * count).astype(np.int64)
    held = last - np.round(validation * count).astype(np.int64)
    return (place >= held[user]).astype(np.int64) + (place >= last[user])


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; get MovieLens-100K (ml-100k.zip) from GroupLens and give the folder of its files"
        )
    separator, fields = _SEPARATORS[path.name], _FIELDS[path.name]
    rows = [line.split(separator) for line in path.read_text(encoding="latin-1").split("\n") if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != fields:
            raise ValueError(f"{path}, line {number}, has {len(row)} fields; those of MovieLens-100K have {fields}")
    if not rows:
        raise ValueError(f"{path} has no line")
    return rows


def _numbers(path: Path, rows: list[list[str]], columns: tuple[int, ...]) -> Integers:
    try:
        return np.array([[int(row[column]) for column in columns] for row in rows], dtype=np.int64)
    except ValueError as error:
        raise ValueError(f"{path} has something that is no whole number where there must be one: {error}") from error
