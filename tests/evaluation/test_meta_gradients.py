"""Errors of meta-gradients: none where theory says none, and in the order that theory says."""

import pytest
import torch
from torch import nn

from quickstudy.evaluation import MetaGradientError, meta_gradient, meta_gradient_error
from quickstudy.learners import (
    MAML,
    EvolutionStrategies,
    Exact,
    FirstOrder,
    Implicit,
    MetaGradient,
    MetaSGD,
    PrototypicalNetwork,
    Truncated,
)
from quickstudy.networks import MLP, PerExample
from quickstudy.tasks import Examples, Gaussian, TaskBatch


@pytest.fixture(autouse=True)
def double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch_of_tasks() -> TaskBatch:
    support, query = (Examples.of(torch.randn(3, 6, 2), torch.randn(3, 6)) for _ in range(2))
    return TaskBatch(support, query)


def maml(way: MetaGradient, steps: int = 4, rate: float = 0.05) -> MAML:
    torch.manual_seed(1)
    return MAML(MLP(2, (8,)), Gaussian(), steps, rate, meta_gradient=way)


def test_it_is_what_backward_leaves() -> None:
    learner, batch = maml(Exact()), batch_of_tasks()
    found = meta_gradient(learner.eval(), batch)
    assert not learner.training
    assert all(weight.grad is None for weight in learner.parameters())
    learner.train()(batch).mean().backward()
    for name, weight in learner.named_parameters():
        torch.testing.assert_close(found[name], weight.grad)


def test_frozen_weights_have_none_and_unused_ones_zero() -> None:
    learner, batch = MetaSGD(MLP(2, (8,)), Gaussian(), 30, 0.05, meta_gradient=Implicit()), batch_of_tasks()
    learner.predictor.head.bias.requires_grad_(False)
    found = meta_gradient(learner, batch)
    assert "predictor.head.bias" not in found
    rates = [name for name in found if not name.startswith("predictor.")]
    assert rates
    assert not any(found[name].any() for name in rates)


@pytest.mark.parametrize("way", [Exact(), Exact(checkpoint=True), Truncated(4), Truncated(9)])
def test_what_is_exact_has_no_error(way: MetaGradient) -> None:
    learner = maml(way)
    error = meta_gradient_error(learner, batch_of_tasks())
    assert error.cosine.item() == pytest.approx(1)
    assert error.relative.item() < 1e-12
    assert learner.meta_gradient is way


def test_fewer_exact_steps_make_a_greater_error() -> None:
    batch = batch_of_tasks()
    errors = [meta_gradient_error(maml(way), batch) for way in (FirstOrder(), Truncated(1), Truncated(3), Exact())]
    relative = [error.relative.item() for error in errors]
    assert relative == sorted(relative, reverse=True)
    assert relative[0] > 0.01
    small = meta_gradient_error(maml(FirstOrder(), rate=0.0005), batch)
    assert small.relative.item() < relative[0] / 50, "the bias is in proportion to the inner rate"


def test_implicit_is_compared_through_the_same_pulled_steps() -> None:
    """On least squares, whose minimum is the only one."""
    batch = batch_of_tasks()
    few, many = (
        meta_gradient_error(
            MAML(PerExample(nn.Identity(), 2), Gaussian(), steps, 0.1, meta_gradient=Implicit(2.0, 3)), batch
        ).relative.item()
        for steps in (2, 60)
    )
    assert few > 0.01
    assert many < 1e-4
    with pytest.raises(ValueError, match=r"reference has the pull 0\.0, but the learner's inner steps 2\.0"):
        meta_gradient_error(maml(Implicit()), batch, Exact())


def test_draws_are_as_many_as_asked_and_more_pairs_are_nearer() -> None:
    def error(pairs: int) -> MetaGradientError:
        learner = MAML(PerExample(nn.Identity(), 2), Gaussian(), 1, 0.1, meta_gradient=EvolutionStrategies(pairs, 1e-4))
        return meta_gradient_error(learner, batch_of_tasks(), draws=3)

    few, many = error(1), error(12)
    assert few.cosine.shape == few.relative.shape == (3,)
    assert few.cosine.std() > 0
    assert many.cosine.mean() > max(0.6, float(few.cosine.mean()))
    assert many.relative.mean() < few.relative.mean()


def test_another_reference() -> None:
    error = meta_gradient_error(maml(Truncated(0)), batch_of_tasks(), FirstOrder())
    assert error.relative.item() < 1e-12


def test_what_makes_no_sense_is_refused() -> None:
    batch = batch_of_tasks()
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        meta_gradient_error(maml(Exact()), batch, draws=0)
    learner = maml(Exact())
    with torch.no_grad():
        learner.predictor.head.weight.zero_()
        learner.predictor.head.bias.zero_()
    still = TaskBatch(*(Examples.of(part.x, torch.zeros_like(part.y)) for part in (batch.support, batch.query)))
    with pytest.raises(ValueError, match="reference meta-gradient is zero"):
        meta_gradient_error(learner, still)


@pytest.mark.unchecked
def test_a_learner_without_an_inner_loop_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a GradientLearner such as MAML\(…\), got PrototypicalNetwork"):
        meta_gradient_error(PrototypicalNetwork(MLP(2, (8,))), batch_of_tasks())
