"""Tasks made from whole tables: each table is learned from some of its rows, and has columns of its own.

`from_table` makes a task of the rows that share a patient; here every table is a source of many tasks, in the form in
which `tabular_prior` draws those of its mechanisms, so that one network can learn from both. A training task is some
rows and some columns of a table, in an order of its own. Which column is predicted is a choice too: with `any` columns
take turns as the target, which makes many kinds of tasks of few tables, and needs no labels.

Hollmann et al., "TabPFN", ICLR 2023, for the form; the targets by turns are those of Nam et al., "STUNT: Few-shot
Tabular Learning with Self-generated Tasks from Unlabeled Tables", ICLR 2023, of single columns.
"""

import copy
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.batch import Examples, TaskBatch
from quickstudy.tasks.collection import part_tasks
from quickstudy.tasks.episodes import Range, bounds
from quickstudy.tasks.source import Split, TaskSource
from quickstudy.tasks.tabular_prior import standardised

__all__ = ["OwnTablesSplit", "TableTargets", "from_tables", "read_tables"]

TableTargets: TypeAlias = Literal["own", "any"]
"""Whether the target of a table is always its own, or any of its columns in turn."""

Floats = NDArray[np.float64]
_TEST_DRAWS = 20  # halvings of a held-out table that are scored


class OwnTablesSplit(Split):
    """A stream of tasks from tables: which rows and columns each has is a pure function of its number.

    In training the tables take turns in shuffled rounds, endlessly; in the other splits each is parted twenty times,
    and all are gone through.

    Args:
        name: the split's name.
        tables: (X `[n, columns]` with NaN where a value is missing, y `[n]`) of each table; y are class numbers or
            standardised numbers.
        kind: `classification` or `regression`.
        features: the most columns of a task; inputs have room for that many.
        shots: support rows, fixed or (least, most); a table with fewer rows than it takes gives what it has.
        queries: query rows per task.
        ways: for classification, the most classes.
        targets: `own`, or `any` column in turn (its own among them).
        draws: how many tasks are made of each table; None for endlessly many.
    """

    def __init__(
        self,
        name: str,
        tables: Sequence[tuple[Floats, NDArray[Any]]],
        kind: Literal["classification", "regression"],
        features: int,
        shots: Range,
        queries: int,
        ways: int,
        targets: TableTargets = "own",
        draws: int | None = None,
    ) -> None:
        self.name, self.kind, self.features, self.shots, self.queries = name, kind, features, shots, queries
        self.targets, self.ways = targets, ways if kind == "classification" else None
        self.size = None if draws is None else draws * len(tables)
        self._rows = np.array([len(y) for _, y in tables])
        self._columns = np.array([x.shape[1] for x, _ in tables])
        self._starts = np.concatenate([[0], np.cumsum(self._rows)])
        # The target stands after the columns that every table has room for.
        self._most = int(self._columns.max())
        self._values = np.full((int(self._rows.sum()), self._most + 1), np.nan)
        for start, (x, y) in zip(self._starts, tables, strict=False):
            self._values[start : start + len(y), : x.shape[1]] = x
            self._values[start : start + len(y), -1] = y

    def to(self, device: Any) -> "OwnTablesSplit":
        """The same tasks; they are made on the CPU and moved."""
        moved = copy.copy(self)
        moved._device = torch.device(device)
        return moved

    _device = torch.device("cpu")

    def members(self, first: int, count: int, seed: int) -> NDArray[np.int64]:
        """Which tables the draws `first` … `first + count − 1` are of."""
        return draws.rounds(seed, f"tables/{self.name}", first, count, len(self._rows), shuffle=self.name == "train")

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        """The tasks `first` … `first + count − 1`; x `[task, n, 2, features]`: values, and 1 where there is one."""
        (low, high), which = bounds(self.shots), self.members(first, count, seed)
        longest, wide = int(self._rows.max()), self._most + 1
        uniform = draws.uniforms(seed, f"own tables/{self.name}", first, count, 3 + longest + wide + (self.ways or 0))
        number, choice, cut, keys, order, names = np.split(uniform, np.cumsum([1, 1, 1, longest, wide]), 1)
        rows, columns = self._rows[which], self._columns[which]
        keys = keys + 2.0 * (np.arange(longest) >= rows[:, None])
        wanted = min(high + self.queries, longest)
        chosen = np.argsort(keys, 1)[:, :wanted]
        # What is asked comes first, so that a short table is asked before it is learned from.
        asked = np.minimum(self.queries, rows // 2)[:, None]
        learned = np.minimum(draws.integers(number[:, 0], low, high), rows - asked[:, 0])[:, None]
        values = self._values[np.minimum(self._starts[which][:, None] + chosen, len(self._values) - 1)]
        place = np.arange(wanted)
        query, support = place < asked, (place >= asked) & (place < asked + learned)

        target = np.full(count, self._most)
        if self.targets == "any":
            turn = draws.integers(choice[:, 0], 0, columns)
            target = np.where(turn < columns, turn, self._most)
        y = np.take_along_axis(values, target[:, None, None], 2)[..., 0]
        known = ~np.isnan(y)
        support, query = support & known, query & known
        absent = (np.arange(wide) >= columns[:, None]) | (np.arange(wide) == target[:, None])
        shown = np.argsort(order + 2.0 * absent, 1)[:, : self.features]
        there = ~np.take_along_axis(absent, shown, 1)[:, None]
        x = np.take_along_axis(values, shown[:, None], 2)
        present = there & ~np.isnan(x)
        pad = [(0, 0), (0, 0), (0, self.features - x.shape[2])]
        inputs = torch.from_numpy(np.stack([np.pad(np.where(present, x, 0.0), pad), np.pad(present, pad)], 2)).float()

        classes, targets = None, torch.zeros(0)
        if self.ways is None:
            learnable = support | ~support.any(1, keepdims=True)  # where nothing is known of a target, nothing is asked
            targets = torch.from_numpy(standardised(np.where(known, y, 0.0), learnable)).float()
        else:
            labels, exist = _classes(y, support | query, target == self._most, cut[:, 0], names, self.ways)
            targets, classes = torch.from_numpy(labels), torch.from_numpy(exist)
            classes = classes.to(self._device)
        return TaskBatch(
            self._part(inputs, targets, support, high), self._part(inputs, targets, query, self.queries), classes
        )

    def _part(self, x: torch.Tensor, y: torch.Tensor, mask: NDArray[np.bool_], length: int) -> Examples:
        """The rows in `mask`, `length` of them with padding."""
        places = np.argsort(~mask, 1, kind="stable")[:, :length]
        real = np.take_along_axis(mask, places, 1)
        short = length - places.shape[1]
        index = torch.from_numpy(np.pad(places, [(0, 0), (0, short)]))
        task = torch.arange(len(mask))[:, None]
        part = Examples(x[task, index], y[task, index], torch.from_numpy(np.pad(real, [(0, 0), (0, short)])))
        return part.map(lambda leaf: leaf.to(self._device))


def _classes(
    y: Floats, real: NDArray[np.bool_], own: NDArray[np.bool_], uniform: Floats, names: Floats, most: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class numbers `[task, row]` from 0 on, shuffled, and which exist `[task, way]`.

    The table's own classes are taken as they are; a column is parted where it has as many values on one side as on the
    other, into a random number of classes, equal values into one.
    """
    ways = draws.integers(uniform**2, 2, most)[:, None]
    ranked = np.sort(np.where(real, y, np.inf), 1)
    count = real.sum(1, keepdims=True)
    ends = np.ceil(count * np.arange(1, most) / ways).astype(np.int64).clip(max=y.shape[1] - 1)
    borders = np.where(np.arange(1, most) < ways, np.take_along_axis(ranked, ends, 1), np.inf)
    parted = (y[..., None] >= borders[:, None]).sum(-1)
    code = np.where(own[:, None], np.where(real, y, 0), parted).astype(np.int64)
    code = np.where(real, code, 0)
    seen = np.zeros((len(y), most), bool)
    task = np.broadcast_to(np.arange(len(y))[:, None], code.shape)
    seen[task[real], code[real]] = True
    new = np.argsort(np.argsort(np.where(seen, names[:, :most], 2.0), 1), 1)
    return np.take_along_axis(new, code, 1), np.arange(most) < seen.sum(1, keepdims=True)


def from_tables(
    tables: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    kind: Literal["classification", "regression"] = "classification",
    features: int = 24,
    shots: Range = (16, 128),
    queries: int = 32,
    ways: int = 10,
    targets: TableTargets = "own",
    most_rows: int = 2000,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> TaskSource:
    """Tasks from your own tables, parted by table into train, validation and test.

    Args:
        tables: (X `[n, columns]` numbers, NaN where missing; y `[n]` class numbers or real targets) by name; columns
            need not be the same, nor as many.
        kind: `classification` or `regression`.
        features: the most columns of a task, those of a wider table are drawn; inputs have room for that many.
        shots: support rows of a training task, fixed or (least, most).
        queries: query rows per task.
        ways: the most classes; tables with more are refused.
        targets: in training, predict a table's `own` target, or `any` column in turn. Held-out tables are asked for
            their own.
        most_rows: of a longer table a random part of so many rows is kept.
        validation, test: shares of the tables that are held out.
        seed: draws which.

    Raises:
        TypeError: an argument of another type, or a table that does not hold numbers.
        ValueError: too few tables, one that is malformed, has too few rows or too many classes; the message names it.
    """
    check_whole(features=features, queries=queries, ways=ways, most_rows=most_rows)
    check_real(validation=validation, test=test)
    check_seed(seed)
    low, high = bounds(shots)
    check_whole(**{"least shots": low, "most shots": high})
    if kind not in ("classification", "regression"):
        raise ValueError(f"kind must be 'classification' or 'regression', got {kind!r}")
    if targets not in get_args(TableTargets):
        raise ValueError(f"targets must be 'own' or 'any', got {targets!r}")
    if not 1 <= low <= high or min(features, queries) < 1 or ways < 2 or most_rows < 4:
        raise ValueError(
            "shots, features and queries must be at least 1, ways at least 2 and most_rows at least 4, got "
            f"{shots}, {features}, {queries}, {ways} and {most_rows}"
        )
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables must be a mapping from names to pairs (X, y), got {type(tables).__name__}")
    if len(tables) < 3:
        raise ValueError(f"tables must be at least three, one for each split, got {len(tables)}")
    read = [_table(name, table, kind, ways, most_rows, seed) for name, table in tables.items()]
    parts = part_tasks(len(read), validation, test, seed)

    def split(name: str) -> OwnTablesSplit:
        members, training = [read[number] for number in parts[name]], name == "train"
        asked, number = (targets, None) if training else ("own", _TEST_DRAWS)
        return OwnTablesSplit(name, members, kind, features, shots, queries, ways, asked, number)  # type: ignore[arg-type]

    names = list(tables)
    protocol = {
        "data": "own tables", "kind": kind, "features": features, "shots": shots, "queries": queries,
        "targets": targets, "test tables": [names[number] for number in parts["test"]], "split_seed": seed,
    }  # fmt: skip
    return TaskSource(split("train"), split("validation"), split("test"), protocol)


def read_tables(folder: Path | str, target: str) -> dict[str, tuple[Floats, NDArray[Any]]]:
    """The tables of a folder, for `from_tables`: files `<name>.csv` or `<name>.tsv`, compressed or not.

    Columns of words become the numbers of their values in sorted order; what is missing is NaN.

    Args:
        folder: where the files are.
        target: the column to predict, of the same name in every table.

    Raises:
        FileNotFoundError: there is no such folder, or no table in it.
        ValueError: a file is no table, or has no such column (the nearest name is suggested).
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder must be a path, got {folder!r}")
    paths = {
        path.name.partition(".")[0]: path for ending in ("csv", "tsv") for path in Path(folder).glob(f"*.{ending}*")
    }
    if not paths:
        raise FileNotFoundError(f"there is no table <name>.csv or <name>.tsv in {folder}")
    return {name: _read(paths[name], target) for name in sorted(paths)}


def _read(path: Path, target: str) -> tuple[Floats, NDArray[Any]]:
    try:
        frame = pd.read_csv(path, sep="\t" if ".tsv" in path.suffixes else ",")
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    if target not in frame:
        near = difflib.get_close_matches(target, [str(column) for column in frame.columns], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{path} has no column {target!r}{hint}")
    frame = frame[frame[target].notna()]
    columns = [_numbers(frame[name]) for name in frame.columns if name != target]
    if not columns:
        raise ValueError(f"{path} has no column beside {target!r}")
    return np.stack(columns, 1), frame[target].to_numpy()


def _numbers(column: "pd.Series[Any]") -> Floats:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64)
    codes = column.astype("category").cat.codes.to_numpy(np.float64)
    return np.where(codes < 0, np.nan, codes)


def _table(name: str, table: Any, kind: str, ways: int, most_rows: int, seed: int) -> tuple[Floats, NDArray[Any]]:
    """One table, checked; classes are numbered from 0, real targets standardised."""
    if not isinstance(table, tuple | list) or len(table) != 2:
        raise TypeError(f"the table {name!r} must be a pair (X, y), got {type(table).__name__}")
    try:
        x, y = np.asarray(table[0], dtype=np.float64), np.asarray(table[1])
    except (TypeError, ValueError) as error:
        raise TypeError(f"the table {name!r} does not hold numbers: {error}") from error
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or not x.shape[1]:
        raise ValueError(f"the table {name!r} must be X [n, columns] and y [n], got {x.shape} and {y.shape}")
    if len(y) < 4:
        raise ValueError(f"the table {name!r} has {len(y)} rows; it takes 4 to learn and to ask")
    if np.isinf(x).any():
        raise ValueError(f"the table {name!r} has values that are infinite")
    if kind == "classification":
        labels, y = np.unique(y, return_inverse=True)
        if not 2 <= len(labels) <= ways:
            raise ValueError(f"the table {name!r} has {len(labels)} classes; there must be 2 to {ways} (ways)")
    else:
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"the targets of the table {name!r} are not numbers: {error}") from error
        if not np.isfinite(y).all() or y.std() == 0:
            raise ValueError(f"the targets of the table {name!r} must be finite and differ")
    keep = np.random.default_rng(seed).permutation(len(y))[:most_rows]
    return x[keep], y[keep]
