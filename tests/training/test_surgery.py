"""Weights of PCGrad and GradVac for all tasks at once, against TorchJD's loops and against projections by hand."""

import pytest
import torch
from torch.testing import assert_close
from torchjd.aggregation import GradVac, PCGrad

from quickstudy.training.surgery import surgery, vaccine


@pytest.mark.parametrize("tasks", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("lean", [-0.3, 0.0, 0.3])
def test_weights_are_those_of_torchjd(tasks: int, lean: float) -> None:
    torch.manual_seed(tasks)
    gradients = torch.randn(tasks, 6, dtype=torch.float64) + lean
    for seed in range(5):
        torch.manual_seed(seed)
        theirs = PCGrad()(gradients)
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        weights = surgery(gradients @ gradients.mT)
        assert_close(weights @ gradients, theirs, rtol=1e-9, atol=1e-9)
        assert torch.equal(torch.rand(1), drawn)  # as many numbers were drawn


@pytest.mark.parametrize("tasks", [1, 2, 8, 40])
def test_vaccinated_gradients_and_their_targets_are_those_of_torchjd(tasks: int) -> None:
    torch.manual_seed(tasks)
    theirs, ours = GradVac(beta=0.3), GradVac(beta=0.3)
    for seed in range(6):  # targets move from step to step
        gradients = torch.randn(tasks, 6, dtype=torch.float64)
        torch.manual_seed(seed)
        expected = theirs(gradients)
        torch.manual_seed(seed)
        weights = vaccine(ours.gramian_weighting, gradients @ gradients.mT)
        assert_close(weights @ gradients, expected, rtol=1e-7, atol=1e-7)
        assert_close(ours.gramian_weighting._phi_t, theirs.gramian_weighting._phi_t, rtol=1e-7, atol=1e-9)


def test_two_that_are_in_conflict_are_projected_onto_each_others_planes() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])
    rows = torch.stack([a, b])
    expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
    assert_close(surgery(rows @ rows.mT) @ rows, expected)


def test_a_gradient_of_zero_changes_nothing() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.5]])
    assert torch.isfinite(surgery(rows @ rows.mT)).all()
