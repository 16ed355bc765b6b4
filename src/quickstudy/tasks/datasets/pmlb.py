"""PMLB: classification tables from many places in one form, `<name>.tsv.gz` with a column `target`.

Everything in them is a number; words were numbered by those who collected them. A few tables have holes (NaN).

Olson et al., "PMLB: A Large Benchmark Suite for Machine Learning Evaluation and Comparison", BioData Mining 2017;
Romano et al., "PMLB v1.0", Bioinformatics 2022.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quickstudy.tasks.datasets.storage import given_folder

__all__ = ["Table", "pmlb"]

Table = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Rows `[n, features]` and class numbers `[n]`."""


def pmlb(folder: Path | str | None = None) -> dict[str, Table]:
    """The tables in a folder, by their names in alphabetical order.

    Args:
        folder: with the publisher's files, each as it stands in the collection (github.com/EpistasisLab/pmlb); by
            default the folder `pmlb` of `QUICKSTUDY_DATA`.

    Raises:
        FileNotFoundError: there is no such folder, or no table in it.
        ValueError: a file is no table of this form; the message names it.
    """
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder must be a path, got {folder!r}")
    found = given_folder("pmlb") if folder is None else Path(folder)
    paths = sorted(found.glob("*.tsv.gz")) if found is not None else []
    if not paths:
        where = "QUICKSTUDY_DATA has no folder pmlb with" if folder is None else f"{folder} has no"
        raise FileNotFoundError(f"{where} tables <name>.tsv.gz; get them from the collection of PMLB")
    return {path.name.removesuffix(".tsv.gz"): _table(path) for path in paths}


def _table(path: Path) -> Table:
    try:
        frame = pd.read_csv(path, sep="\t")
        values = frame.astype(np.float64)
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a table of numbers: {error}") from error
    if "target" not in values or values.shape[1] < 2 or not len(values):
        raise ValueError(f"{path} must have a column 'target', another one and a row, got {list(frame.columns)[:10]}")
    if values["target"].isna().any() or np.isinf(values.to_numpy()).any():
        raise ValueError(f"{path} has a target that is missing, or a value that is not finite")
    return values.drop(columns="target").to_numpy(), np.unique(values["target"], return_inverse=True)[1]
