"""Peaks against counts by hand, and how they grow with the inner steps under every meta-gradient."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from quickstudy.evaluation import meta_gradient, peak_memory
from quickstudy.learners import MAML, EvolutionStrategies, Exact, FirstOrder, Implicit, MetaGradient, Truncated
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian, TaskBatch

TASKS, SHOTS = 3, 5
WEIGHTS = 4 * TASKS * (2 * 8 + 8 + 8 + 1)  # bytes, of all tasks


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def test_a_graph_counts_what_it_keeps() -> None:
    """Of four layers of five, three rows: the inputs of every product but the first are made and kept; then the end."""
    x = torch.randn(3, 5)
    weights = tensors(*[(5, 5)] * 4)

    def forward() -> Tensor:
        hidden = x
        for weight in weights:
            hidden = hidden @ weight
        return hidden

    assert peak_memory(forward) == 4 * (3 * 5) * 4
    with torch.no_grad():
        assert peak_memory(forward) == 2 * (3 * 5) * 4


def test_a_backward_pass_counts() -> None:
    """At its last product: the slope of the hidden layer and both weights' gradients, beside the outputs."""
    (first, second), x = tensors((4, 6), (6, 2)), torch.randn(3, 4)
    above = torch.ones(3, 2)

    def step() -> tuple[Tensor, ...]:
        outputs = x @ first @ second
        return torch.autograd.grad(outputs, (first, second), above)

    hidden, outputs, weights = 3 * 6, 3 * 2, 4 * 6 + 6 * 2
    assert peak_memory(step) == 4 * (outputs + hidden + weights)  # h is freed once the second weight has its gradient


def test_views_and_changes_in_place_take_nothing() -> None:
    x = torch.randn(10, 10)
    assert peak_memory(lambda: x.t().flatten().view(-1)) == 400  # flatten copies what lies transposed
    assert peak_memory(lambda: x[2:].t().add_(1.0).unsqueeze(0)) == 0


def test_what_is_freed_no_longer_counts() -> None:
    x = torch.randn(100)

    def one_after_the_other() -> None:
        for _ in range(5):
            x.exp()

    assert peak_memory(one_after_the_other) == 400


def batch_of_tasks() -> TaskBatch:
    support, query = (Examples.of(torch.randn(TASKS, SHOTS, 2), torch.randn(TASKS, SHOTS)) for _ in range(2))
    return TaskBatch(support, query)


def peaks(way: MetaGradient, tasks_at_once: int | None = None) -> list[int]:
    """After 2, 4 and 6 inner steps."""
    batch = batch_of_tasks()

    def peak(steps: int) -> int:
        learner = MAML(MLP(2, (8,)), Gaussian(), steps, 0.01, meta_gradient=way, tasks_at_once=tasks_at_once)
        return peak_memory(lambda: meta_gradient(learner, batch))

    return [peak(steps) for steps in (2, 4, 6)]


# Checking shapes is what takes longest here: every operation inside an inner loop is seen.
@pytest.mark.unchecked
@pytest.mark.parametrize("tasks_at_once", [1, None])
def test_exact_memory_grows_by_a_constant_with_every_step(tasks_at_once: int | None) -> None:
    found = peaks(Exact(), tasks_at_once)
    first, second = (b - a for a, b in pairwise(found))
    assert first == second > 2 * WEIGHTS
    assert peaks(Exact(), tasks_at_once) == found, "it is the same every time"


@pytest.mark.unchecked
@pytest.mark.parametrize("tasks_at_once", [1, None])
def test_checkpoints_grow_by_the_weights_alone(tasks_at_once: int | None) -> None:
    found = peaks(Exact(checkpoint=True), tasks_at_once)
    assert [b - a for a, b in pairwise(found)] == [2 * WEIGHTS] * 2


@pytest.mark.unchecked
@pytest.mark.parametrize("way", [FirstOrder(), Truncated(1), Implicit(), EvolutionStrategies(1)])
def test_the_others_do_not_grow(way: MetaGradient) -> None:
    assert len(set(peaks(way))) == 1
