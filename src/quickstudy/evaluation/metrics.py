"""Metrics of T tasks from predictive distributions, one number per task.

torchmetrics would give one number for all; the tests hold these to it.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch import distributions as D

__all__ = ["BINS", "HIGHER_IS_BETTER", "calibration_bins", "calibration_error", "task_metrics"]

BINS = 15
HIGHER_IS_BETTER = {
    "accuracy": True,
    "nll": False,
    "joint_nll": False,
    "brier": False,
    "mse": False,
    "ece": False,
    # Of named tasks: see `multitask.Objective`.
    "auc": True,
    "log_loss": False,
    "rmse": False,
    "mae": False,
    # Of ranked lists: see `evaluation.ndcg` and `evaluation.reciprocal_rank`.
    "ndcg": True,
    "mrr": True,
    "correlation": True,
    "distance": False,  # from a Pareto front
}


def task_metrics(
    prediction: D.Distribution, y: Tensor, mask: Bool[Tensor, "task n"]
) -> dict[str, Float[Tensor, " task"]]:
    """Means over the real queries of every task.

    Args:
        prediction: with the batch shape `[task, n]`.
        y: targets `[task, n, ...]`.
        mask: which queries are real; every task must have some.

    Returns:
        For classes `accuracy` (a tie counts half a point or less: the first of the tied classes is taken), `nll` and
        `brier` (sum over classes of squared differences); for real targets `nll` and `mse` (mean over targets).

    Raises:
        ValueError: a task has no query.
    """
    if not mask.any(1).all():
        raise ValueError(f"task {int((~mask.any(1)).nonzero()[0])} of the batch has no query; it cannot be scored")
    metrics = {"nll": -prediction.log_prob(y)}
    probs = class_probabilities(prediction)
    if probs is not None:
        metrics["accuracy"] = (probs.argmax(-1) == y).float()
        metrics["brier"] = (probs - F.one_hot(y.long(), probs.shape[-1])).square().sum(-1)
    else:
        error = (prediction.mean - y).square()
        metrics["mse"] = error if error.ndim == 2 else error.flatten(2).mean(-1)
    count = mask.sum(1)
    return {name: torch.where(mask, value, 0.0).sum(1).double() / count for name, value in metrics.items()}


def class_probabilities(prediction: D.Distribution) -> Float[Tensor, "task n way"] | None:
    """Probabilities of the classes; None for real targets."""
    if isinstance(prediction, D.Categorical):
        return prediction.probs
    if isinstance(prediction, D.Bernoulli):
        return torch.stack([1 - prediction.probs, prediction.probs], -1)
    return None


def calibration_bins(
    probs: Float[Tensor, "task n way"], y: Int[Tensor, "task n"], mask: Bool[Tensor, "task n"]
) -> Float[Tensor, "task bin 3"]:
    """Per task and bin of confidence: the number of queries, and the sums of their confidence and of being right."""
    confidence, choice = probs.max(-1)
    index = torch.bucketize(confidence.clamp(0, 1), torch.linspace(0, 1, BINS + 1, device=probs.device)[1:-1])
    right = (choice == y).to(probs.dtype)
    values = torch.stack([torch.ones_like(confidence), confidence, right], -1) * mask[..., None]
    out = values.new_zeros(y.shape[0], BINS, 3, dtype=torch.float64)
    return out.scatter_add(1, index[..., None].expand(-1, -1, 3), values.double())


def calibration_error(bins: Float[Tensor, "*sample bin 3"]) -> Float[Tensor, "*sample"]:
    """Expected calibration error: |mean confidence − share right| per bin, weighted by the queries in it.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    count, confidence, right = bins.unbind(-1)
    return (confidence - right).abs().sum(-1) / count.sum(-1)
