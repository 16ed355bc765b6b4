import numpy as np
import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import LinearOracle, compare
from quickstudy.learners import Lasso
from quickstudy.tasks import Examples, linear_functions


@pytest.mark.parametrize("intercept", [False, True])
def test_no_weight_could_be_better(intercept: bool) -> None:
    """The conditions of Karush, Kuhn & Tucker: the gradient is −λ sign(w) where w counts, within ±λ where it is 0."""
    batch = linear_functions(6, (4, 9), noise=0.3, sparsity=2).test.draw(0, 10, 0)
    phi = Lasso(0.05, intercept).adapt(batch.support)
    for task in range(10):
        real = batch.support.mask[task]
        x, y = batch.support.x[task, real].double(), batch.support.y[task, real].double()
        weight = phi["weight"][task].double()
        left = y - x @ weight - phi["bias"][task].double()
        gradient = -(x.T @ left) / len(y)
        assert_close(gradient[weight != 0], -0.05 * weight[weight != 0].sign(), rtol=0.0, atol=2e-3)
        assert gradient.abs().max() < 0.05 + 2e-3
        assert abs(left.mean()) < 1e-5 if intercept else phi["bias"][task] == 0


def test_it_is_ahead_of_dense_regression_where_few_coordinates_count() -> None:
    source = linear_functions(8, 6, noise=0.1, sparsity=1)
    ours, dense, best = (
        qs.evaluate(who, source.test, tasks=600, device="cpu")
        for who in (Lasso(0.03, intercept=False), LinearOracle(8, 0.1), LinearOracle(8, 0.1, sparsity=1))
    )
    assert compare(ours, dense, "mse").better is True
    assert compare(best, ours, "mse").better is True


def test_a_large_penalty_leaves_the_mean() -> None:
    support = Examples.of(torch.randn(2, 5, 3), torch.randn(2, 5))
    learner = Lasso(1e3)
    found = learner.predict(learner.adapt(support), torch.randn(2, 4, 3)).mean
    np.testing.assert_allclose(found, support.y.mean(1, keepdim=True).expand(2, 4), rtol=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="penalty must be positive, got 0"):
        Lasso(0.0)


@pytest.mark.unchecked
def test_inputs_of_another_length_are_refused() -> None:
    learner = Lasso()
    phi = learner.adapt(Examples.of(torch.randn(2, 5, 3), torch.randn(2, 5)))
    with pytest.raises(ValueError, match="x has 4 numbers per example, and phi is of 3"):
        learner.predict(phi, torch.randn(2, 5, 4))
