"""Census-Income (KDD): is the income above 50,000, and was the person never married, from 40 columns of a census.

Lane & Kohavi, UCI repository 117 (2000), CC BY 4.0; the two tasks are those of Ma et al., KDD 2018 (MMoE).
"""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from quickstudy.multitask.from_targets import shared_tasks
from quickstudy.multitask.named import NamedTasks
from quickstudy.tasks.datasets.storage import given_file

__all__ = ["census_income"]

_FILE = "census-income.test.gz"
_COLUMNS = 42
_NUMBERS = (0, 5, 16, 17, 18, 30, 39)  # age, wage, gains, losses, dividends, employees, weeks worked
_MARITAL, _WEIGHT, _INCOME = 7, 24, 41  # the weight is how many people a row stands for, and no feature


def census_income(
    folder: Path | str | None = None, *, validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> NamedTasks:
    """Two binary targets of the same people: `income` (above 50,000 dollars) and `marital` (never married).

    Inputs are the other columns: numbers as log(1 + v), standardised, and every value of every other column as a 0 or 1
    of its own (means, spreads and values are of all rows: inputs only). Rows are parted at random. Only the publisher's
    test file is read (99,762 rows), so that scores do not compare with published ones.

    Args:
        folder: where `census-income.test.gz` is; by default `census_income_kdd` below `QUICKSTUDY_DATA`.
        validation, test: shares of the rows that are held out.
        seed: draws which.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged.
    """
    path = given_file(folder, "census_income_kdd", _FILE, 117)
    try:
        content = gzip.decompress(path.read_bytes())
        table = pd.read_csv(io.BytesIO(content), header=None, skipinitialspace=True, dtype=str, keep_default_na=False)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if table.shape[1] != _COLUMNS:
        raise ValueError(f"{path} has {table.shape[1]} columns, not {_COLUMNS}")
    try:
        numbers = np.log1p(table[list(_NUMBERS)].to_numpy(np.float64))
    except ValueError as error:
        raise ValueError(f"{path} has a text where a number is meant: {error}") from error
    spread = numbers.std(0)
    parts = [((numbers - numbers.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)]
    for column in sorted(set(range(_COLUMNS)) - {*_NUMBERS, _MARITAL, _WEIGHT, _INCOME}):
        codes, values = pd.factorize(table[column], sort=True)
        parts.append(np.eye(len(values), dtype=np.float32)[codes])
    targets = {
        "income": table[_INCOME].str.startswith("50000+").to_numpy(np.float32),
        "marital": (table[_MARITAL] == "Never married").to_numpy(np.float32),
    }
    return shared_tasks(np.concatenate(parts, 1), targets, validation=validation, test=test, seed=seed)
