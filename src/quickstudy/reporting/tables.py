"""The tables of a result, as text: for the terminal, the report and README.md."""

import math
from collections.abc import Mapping
from typing import Any

from quickstudy.evaluation import HIGHER_IS_BETTER, Interval
from quickstudy.reporting.cards import entries

__all__ = ["metric_cell", "tables"]


def tables(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A table per protocol: a row per learner, a column per metric; then the paired differences.

    Returns:
        For each, `title`, `head` and `rows` of text. Tables of scores also have `roles`, the role of every row's
        learner, and `best`, for every column the row that is best (None where that means nothing): the optimum, which
        knows what no learner knows, takes no part.
    """
    out = []
    each = entries(card)
    # Not everyone need be scored under every protocol.
    names = list(dict.fromkeys(name for entry in each.values() for name in entry["metrics"]))
    roles = [entry.get("role", "learner") for entry in each.values()]
    for protocol in dict.fromkeys(name.rpartition(".")[0] for name in names):
        metrics = [name.rpartition(".")[2] for name in names if name.startswith(protocol + ".")]
        rows = [
            [
                name,
                *(metric_cell(m, entry["metrics"].get(f"{protocol}.{m}")) for m in metrics),
                f"{entry['seconds']:.0f}",
            ]
            for name, entry in each.items()
        ]
        means = [[entry["metrics"].get(f"{protocol}.{m}", {}).get("mean") for entry in each.values()] for m in metrics]
        best = [_best(m, values, roles) for m, values in zip(metrics, means, strict=True)]
        key = f"{protocol}.{metrics[0]}"
        tasks = next(entry["metrics"][key]["tasks"] for entry in each.values() if key in entry["metrics"])
        out.append(
            {
                "title": protocol if tasks == 1 else f"{protocol}, {tasks} test tasks",
                "head": ["", *metrics, "training seconds"],
                "rows": rows,
                "roles": roles,
                "best": [None, *best, None],
            }
        )
    if card.get("differences"):
        rows = [[d["protocol"], f"{d['first']} − {d['second']}", d["words"]] for d in card["differences"]]
        by = dict.fromkeys(d["metric"] for d in card["differences"])
        head = ["protocol", "paired on the same tasks", f"difference in {' or '.join(by)}"]
        out.append({"title": "Differences", "head": head, "rows": rows})
    return out


def _best(metric: str, means: list[float | None], roles: list[str]) -> int | None:
    known = [i for i, mean in enumerate(means) if mean is not None and roles[i] != "optimum"]
    if len(known) < 2:
        return None
    sign = 1 if HIGHER_IS_BETTER.get(metric, False) else -1
    return max(known, key=lambda i: sign * (means[i] or 0.0))


def metric_cell(metric: str, value: Mapping[str, Any] | None) -> str:
    """A metric as people read it: accuracy in percent, the rest as it is."""
    if value is None:
        return "n/a"
    known = Interval.from_json(dict(value))
    factor, digits = (100, 1) if metric == "accuracy" else (1, 3)
    mean = f"{factor * known.mean:.{digits}f}"
    return mean if math.isnan(known.ci95) else f"{mean} ± {factor * known.ci95:.{digits}f}"
