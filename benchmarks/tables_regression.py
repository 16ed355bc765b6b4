"""Regressors on tables that none was made for: a transformer trained on a synthetic prior beside what one would use.

The diabetes table of scikit-learn; a table for each of the 42 patients of Parkinsons telemonitoring, about 140
recordings each, whose scores follow a line in time for the most part; and Friedman's three functions with noise (they
are synthetic: 200 rows each). Every table is parted into halves five times; the share of the variance of the half that
was asked which is explained (R²), and the mean rank by it. Intervals are over tables of a group. Everyone is used as it
comes; those that are sensitive to scale get standardised columns.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from side_by_side import write
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quickstudy.estimators import InContextRegressor
from quickstudy.evaluation import interval
from quickstudy.multitask import parkinsons

Table = tuple[np.ndarray, np.ndarray]
OURS = "in-context"

CONTESTANTS: dict[str, Callable[[int], Any]] = {
    OURS: lambda seed: InContextRegressor(random_state=seed),
    "ridge regression": lambda _: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
    "random forest": lambda seed: RandomForestRegressor(n_jobs=1, random_state=seed),
    "gradient boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "k nearest neighbours": lambda _: make_pipeline(StandardScaler(), KNeighborsRegressor()),
}


def patients() -> list[Table]:
    """All recordings of each patient."""
    tasks = parkinsons()
    parts = [
        {name: (one.x[0][one.mask[0]], one.y[0][one.mask[0]]) for name, one in split.draw(0, split.size, 0).items()}
        for split in (tasks.validation, tasks.test)
    ]
    train = tasks.train.data  # type: ignore[attr-defined]
    return [
        tuple(np.concatenate([train[name][k], *(part[name][k] for part in parts)]) for k in range(2)) for name in train
    ]


def groups() -> dict[str, list[Table]]:
    """The tables."""
    friedman = [
        make(n_samples=200, noise=noise, random_state=0)
        for make, noise in ((make_friedman1, 1.0), (make_friedman2, 50.0), (make_friedman3, 0.1))
    ]
    return {"diabetes": [load_diabetes(return_X_y=True)], "Friedman": friedman, "patients": patients()}


def scores(make: Callable[[int], Any], table: Table, split: int) -> tuple[float, float]:
    """R² and seconds of one contestant on one halving of a table."""
    x, y = table
    learned, asked = next(ShuffleSplit(1, test_size=0.5, random_state=split).split(x))
    start = time.perf_counter()
    found = make(split).fit(x[learned], y[learned]).predict(x[asked])
    return float(r2_score(y[asked], found)), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one table of each group, one split; no card")
    quick = parser.parse_args().quick
    torch.set_num_threads(1 if quick else 2)
    splits, metrics, ranks, seconds = 1 if quick else 5, {}, [], []
    chosen = {group: tables[: 1 if quick else None] for group, tables in groups().items()}
    for group, tables in chosen.items():
        found = np.array(
            [
                [np.mean([scores(make, table, split) for split in range(splits)], 0) for make in CONTESTANTS.values()]
                for table in tables
            ]
        )  # table, contestant, kind
        explained = found[..., 0]
        seconds.append(found[..., 1])
        ranks.append(rankdata(-explained, axis=1))
        for number, name in enumerate(CONTESTANTS):
            here = interval(explained[:, number])
            width = f" ± {here.ci95:.3f}" if len(tables) > 1 else ""
            metrics[f"{name}, R² on {group}"] = f"{here.mean:.3f}{width}"
        for number, name in enumerate(CONTESTANTS):
            if name != OURS and len(tables) > 1:
                difference = interval(explained[:, 0] - explained[:, number])
                metrics[f"{OURS} − {name}, R² on {group}"] = f"{difference.mean:+.3f} ± {difference.ci95:.3f}"
    for number, name in enumerate(CONTESTANTS):
        metrics[f"{name}, mean rank"] = round(float(np.concatenate(ranks)[:, number].mean()), 2)
        metrics[f"{name}, seconds a table"] = round(float(np.median(np.concatenate(seconds)[:, number])), 3)
    sizes = {group: len(tables) for group, tables in chosen.items()}
    protocol = {"tables": sizes, "splits": splits, "halves": True, "threads": 2}
    write("tables-regression", f"{sum(sizes.values())} tables, in halves", protocol, metrics, keep=not quick)


if __name__ == "__main__":
    main()
