import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, mean_squared_error
from torch import distributions as D
from torch.testing import assert_close
from torchmetrics.functional.classification import multiclass_calibration_error

from quickstudy.evaluation import calibration_error, task_metrics
from quickstudy.evaluation.metrics import BINS, calibration_bins


def predictions(tasks: int = 3, n: int = 40, ways: int = 4) -> tuple[D.Categorical, torch.Tensor, torch.Tensor]:
    return (
        D.Categorical(logits=2 * torch.randn(tasks, n, ways)),
        torch.randint(0, ways, (tasks, n)),
        torch.arange(n) < torch.tensor([n, n // 2, 7])[:tasks, None],
    )


def test_classes_agree_with_scikit_learn() -> None:
    prediction, y, mask = predictions()
    metrics = task_metrics(prediction, y, mask)
    for task in range(3):
        real = mask[task]
        probs, labels = prediction.probs[task][real].double(), y[task][real]
        probs = probs / probs.sum(1, keepdim=True)
        assert_close(metrics["accuracy"][task].item(), accuracy_score(labels, probs.argmax(1)))
        assert_close(metrics["nll"][task].item(), log_loss(labels, probs, labels=range(4)), rtol=1e-5, atol=1e-6)
        brier = brier_score_loss(labels, probs, labels=range(4), scale_by_half=False)
        assert_close(metrics["brier"][task].item(), brier, rtol=1e-5, atol=1e-6)


def test_real_targets_agree_with_scikit_learn() -> None:
    mean, y, mask = torch.randn(2, 9, 3), torch.randn(2, 9, 3), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    metrics = task_metrics(D.Independent(D.Normal(mean, 1.0), 1), y, mask)
    for task in range(2):
        expected = mean_squared_error(y[task][mask[task]], mean[task][mask[task]])
        assert_close(metrics["mse"][task].item(), expected, rtol=1e-5, atol=1e-6)
    assert "accuracy" not in metrics


def test_yes_and_no_are_two_classes() -> None:
    prediction = D.Bernoulli(logits=torch.randn(1, 50))
    y, mask = torch.randint(0, 2, (1, 50)).float(), torch.ones(1, 50, dtype=torch.bool)
    metrics = task_metrics(prediction, y, mask)
    assert_close(metrics["accuracy"].item(), ((prediction.probs > 0.5) == y.bool()).double().mean().item())
    assert_close(
        metrics["brier"].item(), 2 * (prediction.probs - y).square().double().mean().item(), rtol=1e-5, atol=1e-6
    )


def test_calibration_error_agrees_with_torchmetrics() -> None:
    prediction, y, mask = predictions(n=500)
    bins = calibration_bins(prediction.probs, y, mask)
    for task in range(3):
        theirs = multiclass_calibration_error(prediction.probs[task][mask[task]], y[task][mask[task]], 4, BINS, "l1")
        assert_close(calibration_error(bins[task]).float(), theirs, rtol=1e-5, atol=1e-6)
    together = multiclass_calibration_error(prediction.probs[mask], y[mask], 4, BINS, "l1")
    assert_close(calibration_error(bins.sum(0)).float(), together, rtol=1e-5, atol=1e-6)


def test_a_task_without_queries_cannot_be_scored() -> None:
    prediction, y, mask = predictions()
    mask[1] = False
    with pytest.raises(ValueError, match="task 1 of the batch has no query"):
        task_metrics(prediction, y, mask)
