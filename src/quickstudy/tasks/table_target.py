"""What the numbers of a table's target mean: classes by name, or a quantity in its own units."""

from datetime import datetime, time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Gaussian, Likelihood
from quickstudy.tasks.source import Kind

__all__ = ["MOST_CLASSES", "TableTarget", "class_numbers", "is_number", "kind_of", "numbers_in", "quantities", "words"]

# An integer target with more values than this is taken for a quantity.
MOST_CLASSES = 20


@register
class TableTarget:
    """A column to predict: as numbers to learn from, and predictions of it as a table. `learned` makes it.

    Args:
        name: of the column.
        classes: the names of the classes as words, in the order of their numbers; None for a quantity.
        mean, std: by which a quantity is standardised.
    """

    def __init__(self, name: str, classes: list[str] | None = None, mean: float = 0.0, std: float = 1.0) -> None:
        self.name, self.classes, self.mean, self.std = name, classes, mean, std

    @classmethod
    def learned(cls, column: pd.Series, training: NDArray[Any], kind: Kind) -> "TableTarget":
        """From a column without missing values; mean and standard deviation from its rows `training` (places, or a
        mask) alone.

        Raises:
            ValueError: most rows have a class of their own; or a quantity that is none, is not finite, or has one
                value in training.
        """
        name = str(column.name)
        if kind != "regression":
            return cls(name, class_numbers(column)[0])
        values = _finite(column)[training]
        mean, std = (float(values.mean()), float(values.std())) if len(values) else (0.0, 0.0)
        if not len(values) or values.min() == values.max():
            raise ValueError(f"the target {name!r} has one value in training; there is nothing to predict")
        return cls(name, None, mean, std)

    def __call__(self, column: pd.Series) -> NDArray[np.int64] | NDArray[np.float64]:
        """A column without missing values as class numbers, or as standard deviations from the mean.

        Raises:
            ValueError: a class that was not there, or no quantity.
        """
        if self.classes is None:
            return (_finite(column) - self.mean) / self.std
        names = words(column)
        numbers = pd.Index(self.classes).get_indexer(pd.Index(names))
        if (numbers < 0).any():
            raise ValueError(
                f"{self.name!r} has the class {names[numbers < 0][0]!r}, which it did not have when this was "
                f"learned; there were {', '.join(self.classes[:20])}"
            )
        return numbers.astype(np.int64)

    def readable(self, prediction: Distribution, likelihood: Likelihood) -> dict[str, NDArray[Any]]:
        """Predictions in the units and by the names of the column: arrays of the distribution's batch shape, by name.

        A quantity is its mean, and beside it the standard deviation where the likelihood predicts that too; of classes
        there is the most probable one, and the probability of each.

        Args:
            prediction: a distribution.
            likelihood: that it is of.
        """
        if self.classes is None:
            found = {self.name: self.mean + self.std * _array(prediction.mean)}
            if not (isinstance(likelihood, Gaussian) and likelihood.variance is not None):  # a fixed one says nothing
                found[f"{self.name} std"] = self.std * _array(prediction.stddev)
            return found
        probs = _array(prediction.probs)  # type: ignore[attr-defined]
        if probs.ndim == len(prediction.batch_shape):  # of a yes or no
            probs = np.stack([1 - probs, probs], -1)
        most = np.array(self.classes, dtype=object)[probs.argmax(-1)]
        return {self.name: most} | {f"{self.name}: {name}": probs[..., n] for n, name in enumerate(self.classes)}


def class_numbers(target: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The names of the classes, in the order of their numbers, and the number of each row's; none is missing.

    Raises:
        ValueError: most rows have a class of their own.
    """
    every = words(target)
    # Numbers are in the order of their values, which is not that of their names.
    keys = target.to_numpy(np.float64) + 0.0 if is_number(target) else every.astype(str)
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    names = every[first].tolist()
    if len(names) > max(MOST_CLASSES, len(target) / 2):
        hint = "" if is_number(target) else numbers_in(target.astype(str))
        raise ValueError(
            f"the target {str(target.name)!r} has {len(names)} different values in {len(target)} rows, such as "
            f"{names[0]!r}: as classes, they cannot be learned{hint}"
        )
    return names, numbers


def is_number(column: pd.Series) -> bool:
    """Whether it holds numbers, which yes and no are not."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def numbers_in(texts: pd.Series) -> str:
    """What to do about words most of which are numbers; nothing about others."""
    other = texts[pd.to_numeric(texts.str.replace(",", ".", regex=False), errors="coerce").isna()]
    if not len(texts) or len(other) > len(texts) / 2:
        return ""
    example = (other if len(other) else texts).iloc[0]
    return (
        f"; most are numbers: if they are quantities, make it numeric (what is read as text is {example!r}), with "
        "missing values empty; if they are none, make it pandas' category"
    )


def kind_of(target: pd.Series) -> Kind:
    """Classification where the values are text, true/false, or at most 20 whole numbers."""
    if not is_number(target):
        return "classification"
    whole = (target == target.round()).all()
    return "classification" if whole and target.nunique() <= MOST_CLASSES else "regression"


def words(column: pd.Series) -> NDArray[np.object_]:
    """The values of a column as words, NaN where there is none.

    The same value is the same word however pandas came to hold it: whole numbers have no point, though it reads them
    with one where some are missing, a text that is a number is that number, and days have no time.
    """
    column = column.astype(object)
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # lists and the like
        codes, values = pd.factorize(column.map(str, na_action="ignore"))
    named = np.array([_word(value) for value in values] + [np.nan], dtype=object)
    return named[codes]  # −1, the last, is missing


def _word(value: Any) -> str:
    if isinstance(value, datetime) and value == datetime.combine(value, time.min, value.tzinfo):
        return value.date().isoformat()
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    # −0 is 0. Long numbers of accounts and the like have more digits than a number of floating point.
    return f"{number + 0.0:.15g}" if abs(number) < 1e15 else str(value)


def quantities(column: pd.Series, what: str) -> NDArray[np.float64]:
    """A column of numbers, NaN where there is none; yes is 1 and no is 0.

    Args:
        column: of a table.
        what: it is, for messages.

    Raises:
        ValueError: it holds something else.
    """
    if pd.api.types.is_timedelta64_dtype(column) or pd.api.types.is_complex_dtype(column):
        raise ValueError(f"{what} holds {column.dtype}, not real numbers; make it numbers, in a unit of your choice")
    if pd.api.types.is_bool_dtype(column) or column.dtype == object:
        column = column.astype(object).map(lambda value: float(value) if isinstance(value, bool | np.bool_) else value)
    try:
        return pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} does not hold numbers: {error}") from error


def _finite(column: pd.Series) -> NDArray[np.float64]:
    values = quantities(column, f"the target {str(column.name)!r}")
    if not np.isfinite(values).all():
        raise ValueError(f"the target {str(column.name)!r} has values that are not finite; remove those rows")
    return values


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.cpu().double().numpy()
