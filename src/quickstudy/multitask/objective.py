"""An objective: what a named task's targets are, how much its loss counts, and what it is scored by."""

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.distributions import Distribution

from quickstudy.arguments import check_real
from quickstudy.rebuild import register
from quickstudy.tasks.likelihood import Likelihood

__all__ = ["Metric", "Objective"]

Metric: TypeAlias = Literal["accuracy", "auc", "log_loss", "rmse", "mae"]

_KINDS = {
    "accuracy": ("classification", "binary"),
    "auc": ("binary",),
    "log_loss": ("classification", "binary", "regression"),
    "rmse": ("regression",),
    "mae": ("regression",),
}


@register
class Objective:
    """A named task's likelihood, the weight of its loss, and its metric.

    What is minimised over all tasks is Σ_i w_i L_i; w_i is part of the loss that a module returns.

    Args:
        likelihood: what the outputs of the task's head mean.
        weight: w_i.
        metric: `accuracy`, `auc` (of the probability of 1), `log_loss` (−log p per example), `rmse` or `mae` (in the
            target's unit); by default accuracy for classes and rmse for numbers.

    Raises:
        TypeError: the likelihood is none.
        ValueError: a negative weight, or a metric that does not fit the likelihood.
    """

    def __init__(self, likelihood: Likelihood, weight: float = 1.0, metric: Metric | None = None) -> None:
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"likelihood must be a Likelihood such as Gaussian(), got {type(likelihood).__name__}")
        check_real(weight=weight)
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        if metric is None:
            metric = "rmse" if likelihood.kind == "regression" else "accuracy"
        if metric not in get_args(Metric) or likelihood.kind not in _KINDS[metric]:
            fitting = ", ".join(name for name, kinds in _KINDS.items() if likelihood.kind in kinds)
            raise ValueError(f"metric must be one of {fitting} for {likelihood.kind}, got {metric!r}")
        self.likelihood, self.weight, self.metric = likelihood, weight, metric

    def score(self, prediction: Distribution, y: Tensor, mask: Bool[Tensor, " n"]) -> float:
        """The metric over real examples, of predictions `[n]`; NaN where it is not defined (no example, or the AUC
        of one class)."""
        if not mask.any():
            return float("nan")
        if self.metric == "log_loss":
            return -float(prediction.log_prob(y)[mask].double().mean())
        if self.metric == "accuracy":
            probs = prediction.probs  # type: ignore[attr-defined]
            guess = probs.argmax(-1) if self.likelihood.kind == "classification" else (probs > 0.5).to(y.dtype)
            return float((guess == y)[mask].double().mean())
        if self.metric == "auc":
            labels = y[mask].cpu().numpy()
            if len(np.unique(labels)) < 2:
                return float("nan")
            return float(roc_auc_score(labels, prediction.probs[mask].cpu().numpy()))  # type: ignore[attr-defined]
        error = (prediction.mean - y)[mask].double()
        return float(error.abs().mean()) if self.metric == "mae" else float(torch.sqrt(error.square().mean()))
