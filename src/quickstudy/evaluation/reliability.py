"""Calibration as a picture: of the predictions made with a given confidence, how many are right?

DeGroot & Fienberg, "The comparison and evaluation of forecasters", The Statistician 1983; the bins are those of
`calibration_error`.
"""

from collections.abc import Sequence
from typing import Any

import torch

from quickstudy.evaluation.evaluate import Scores

__all__ = ["reliability"]


def reliability(runs: Sequence[Scores]) -> list[dict[str, Any]] | None:
    """The points of a reliability diagram, from all queries of all tasks and runs.

    Returns:
        Per bin that holds a query, in order: `confidence` (mean), `right` (the share that is) and `count`; None for
        real targets, which have no confidence of this kind.
    """
    bins = [run.bins.sum(0) for run in runs if run.bins is not None]
    if not bins:
        return None
    total = torch.stack(bins).sum(0)
    return [
        {"confidence": round(confidence / count, 6), "right": round(right / count, 6), "count": int(count)}
        for count, confidence, right in total.tolist()
        if count > 0
    ]
