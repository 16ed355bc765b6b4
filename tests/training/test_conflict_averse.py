"""CAGrad's weights by one root of quadratic programs, against TorchJD's cone program and against a grid."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torchjd.aggregation import CAGrad

from quickstudy.training.conflict_averse import conflict_averse

pytest.importorskip("quadprog", reason="the extra 'balancing' is not installed")


def to_minimise(rows: Tensor, weights: Tensor, c: float) -> Tensor:
    """⟨g_0, g_w⟩ + c ‖g_0‖ ‖g_w‖ for weights `[..., task]`."""
    mean, of = rows.mean(0), weights @ rows
    return of @ mean + c * mean.norm() * of.norm(dim=-1)


@pytest.mark.parametrize("tasks", [2, 3, 8, 40])
@pytest.mark.parametrize("c", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("lean", [0.0, -0.3, 0.3])
def test_the_gradient_is_that_of_torchjd(tasks: int, c: float, lean: float) -> None:
    torch.manual_seed(tasks)
    rows = torch.randn(tasks, 60, dtype=torch.float64) * torch.rand(tasks, 1) + lean
    weighting = CAGrad(c).gramian_weighting
    gramian = rows @ rows.mT
    found, theirs = conflict_averse(weighting, gramian) @ rows, weighting(gramian) @ rows
    assert_close(found, theirs, rtol=1e-3, atol=1e-4 * float(theirs.norm()))


def test_no_weights_on_a_grid_are_better() -> None:
    torch.manual_seed(0)
    steps = torch.linspace(0, 1, 201, dtype=torch.float64)
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([first, second, 1 - first - second], -1).flatten(0, 1)
    grid = grid[grid[:, 2] >= 0]
    for _ in range(20):
        rows = torch.randn(3, 5, dtype=torch.float64)
        weights = conflict_averse(CAGrad(0.5).gramian_weighting, rows @ rows.mT)
        own = (weights - 1 / 3) / (weights - 1 / 3).sum()
        assert to_minimise(rows, own, 0.5) <= to_minimise(rows, grid, 0.5).min() + 1e-9
        # The length of what is added to the mean is c ‖g_0‖.
        assert_close((weights @ rows - rows.mean(0)).norm(), 0.5 * rows.mean(0).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["one task", "opposite", "against", "zero", "one of zero"])
def test_what_has_no_one_answer_is_answered_as_by_torchjd(kind: str, c: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rows = {
        "one task": torch.randn(1, 4),
        "against": torch.tensor([[1.0, 2.0, 3.0], [-0.1, -0.2, -0.3]]),
        "opposite": torch.tensor([[1.0, 0.0], [-1.0, 0.0]]),
        "zero": torch.zeros(3, 4),
        "one of zero": torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 1.0]]),
    }[kind].to(dtype)
    weighting = CAGrad(c).gramian_weighting
    gramian = rows @ rows.mT
    found = conflict_averse(weighting, gramian)
    assert found.dtype == gramian.dtype
    assert_close(found @ rows, weighting(gramian) @ rows, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tasks", "rank"), [(2, 1), (3, 2), (6, 3), (4, 3)])
def test_gradients_that_depend_on_one_another_still_move(tasks: int, rank: int, dtype: torch.dtype) -> None:
    """For c < 1 a direction of zero is never the best, unless the mean is zero."""
    torch.manual_seed(0)
    for _ in range(20):
        rows = (torch.randn(tasks, rank) @ torch.randn(rank, 8)).to(dtype)
        weighting = CAGrad(0.4).gramian_weighting
        found, theirs = conflict_averse(weighting, rows @ rows.mT) @ rows, weighting(rows @ rows.mT) @ rows
        assert (found.norm() > 0) == (theirs.norm() > 0)
        assert_close((found - rows.mean(0)).norm(), 0.4 * rows.mean(0).norm(), rtol=1e-3, atol=1e-5)
