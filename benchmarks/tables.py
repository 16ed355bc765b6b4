"""Classifiers on tables that none was made for: a transformer trained on a synthetic prior beside what one would use.

The tables of PMLB that are at hand and those that scikit-learn carries, of up to ten classes, each parted into halves
that keep the shares of the classes, five times; of large tables 1,000 rows are learned from and 1,000 asked. Area under
the ROC curve (one class against the rest, averaged), log loss, accuracy, and the mean rank by log loss and by area.
Intervals are over tables. Everyone is used as it comes; those that are sensitive to scale get standardised columns, and
the mean for what is missing.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from side_by_side import write
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from quickstudy.estimators import InContextClassifier
from quickstudy.evaluation import interval
from quickstudy.tasks.datasets.pmlb import Table, pmlb

MOST_ROWS, MOST_CLASSES = 1000, 10
OURS = "in-context"
Make = Callable[[int], Any]


def scaled(model: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), SimpleImputer(), model)


CONTESTANTS: dict[str, Make] = {
    OURS: lambda seed: InContextClassifier(random_state=seed),
    "logistic regression": lambda _: scaled(LogisticRegression(max_iter=1000)),
    "random forest": lambda seed: RandomForestClassifier(n_jobs=1, random_state=seed),
    "gradient boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "k nearest neighbours": lambda _: scaled(KNeighborsClassifier()),
}
CARRIED = {"breast_cancer": load_breast_cancer, "digits": load_digits, "iris": load_iris, "wine": load_wine}


def tables() -> dict[str, Table]:
    """Those of up to ten classes, as many as the transformer has outputs."""
    found = pmlb() | {name: load(return_X_y=True) for name, load in CARRIED.items()}
    return {name: (x, y) for name, (x, y) in found.items() if y.max() < MOST_CLASSES}


def scores(make: Make, x: np.ndarray, y: np.ndarray, split: int) -> tuple[float, float, float, float]:
    """Area under the curve, log loss, accuracy and seconds of one contestant on one halving of a table."""
    half = min(MOST_ROWS, len(y) // 2)
    parts = StratifiedShuffleSplit(1, train_size=half, test_size=half, random_state=split)
    learned, asked = next(parts.split(x, y))
    start = time.perf_counter()
    model = make(split).fit(x[learned], y[learned])
    found = model.predict_proba(x[asked])
    seconds = time.perf_counter() - start
    # A class that no row of the half shows has no probability.
    probs = np.zeros((len(asked), y.max() + 1))
    probs[:, model.classes_] = found
    accuracy, labels = float((probs.argmax(1) == y[asked]).mean()), np.arange(y.max() + 1)
    # Where someone is certain and wrong, the loss has an end.
    probs = np.clip(probs, 1e-6, 1)
    probs /= probs.sum(1, keepdims=True)
    loss = log_loss(y[asked], probs, labels=labels)
    both = [label for label in labels if 0 < (y[asked] == label).mean() < 1]
    areas = [roc_auc_score(y[asked] == label, probs[:, label]) for label in both]
    return float(np.mean(areas)), float(loss), accuracy, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three tables, one split; no card")
    quick = parser.parse_args().quick
    torch.set_num_threads(1 if quick else 2)
    warnings.filterwarnings("ignore", message=".*lbfgs failed to converge.*")
    chosen = dict(list(tables().items())[-3:]) if quick else tables()
    splits = 1 if quick else 5
    found = np.array(
        [
            [np.mean([scores(make, x, y, split) for split in range(splits)], 0) for make in CONTESTANTS.values()]
            for x, y in chosen.values()
        ]
    )  # table, contestant, kind
    area, loss, accuracy, seconds = np.moveaxis(found, 2, 0)
    ranks = {"log loss": rankdata(loss, axis=1), "area": rankdata(-area, axis=1)}
    metrics = {}
    for number, name in enumerate(CONTESTANTS):
        for kind, values in (("area under the curve", area), ("log loss", loss), ("accuracy", accuracy)):
            here = interval(torch.from_numpy(values[:, number]))
            metrics[f"{name}, {kind}"] = f"{here.mean:.3f} ± {here.ci95:.3f}"
        for kind, rank in ranks.items():
            metrics[f"{name}, mean rank by {kind}"] = round(float(rank[:, number].mean()), 2)
        metrics[f"{name}, seconds a table"] = round(float(np.median(seconds[:, number])), 3)
    for number, name in enumerate(CONTESTANTS):
        if name != OURS:
            better = [table for row, table in enumerate(chosen) if loss[row, 0] < loss[row, number]]
            metrics[f"tables where {OURS} has less log loss than {name}"] = f"{len(better)} of {len(chosen)}"
    first = [table for row, table in enumerate(chosen) if loss[row].argmin() == 0]
    last = [table for row, table in enumerate(chosen) if loss[row].argmax() == 0]
    metrics |= {f"{OURS} has the least log loss on": ", ".join(first), "the most on": ", ".join(last)}
    protocol = {
        "data": "PMLB, scikit-learn", "tables": list(chosen), "splits": splits, "halves": f"up to {MOST_ROWS} rows",
        "threads": 2,
    }  # fmt: skip
    write("tables", f"{len(chosen)} tables, in halves", protocol, metrics, keep=not quick)


if __name__ == "__main__":
    main()
