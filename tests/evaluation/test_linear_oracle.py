"""The posterior against scikit-learn's regressions and against brute force."""

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import LinearOracle, compare
from quickstudy.learners import NearestNeighbour
from quickstudy.tasks import Examples, Gaussian, linear_functions


def real(examples: Examples, task: int) -> tuple[np.ndarray, np.ndarray]:
    mask = examples.mask[task]
    return examples.x[task, mask].double().numpy(), examples.y[task, mask].double().numpy()


@pytest.mark.parametrize("shots", [(1, 4), (5, 12)])
def test_without_noise_it_is_least_squares_of_smallest_norm(shots: tuple) -> None:
    batch = linear_functions(6, shots).test.draw(0, 20, 0)
    oracle = LinearOracle(6)
    found = oracle.predict(oracle.adapt(batch.support), batch.query.x.double()).mean
    for task in range(20):
        # Theirs, too, has the smallest norm where there are fewer examples than weights.
        line = LinearRegression(fit_intercept=False).fit(*real(batch.support, task))
        expected = line.predict(batch.query.x[task].double().numpy())
        np.testing.assert_allclose(found[task], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_with_noise_it_is_ridge_regression(noise: float) -> None:
    batch = linear_functions(6, (1, 12), noise=noise).test.draw(0, 20, 0)
    oracle = LinearOracle(6, noise)
    found = oracle.predict(oracle.adapt(batch.support), batch.query.x.double()).mean
    for task in range(20):
        line = Ridge(alpha=6 * noise**2, fit_intercept=False).fit(*real(batch.support, task))
        np.testing.assert_allclose(found[task], line.predict(batch.query.x[task].double().numpy()), rtol=1e-6)


def conditional(x: Tensor, y: Tensor, asked: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of y where asked, given the rest of a normal vector, and the density of the rest."""
    both = torch.cat([x, asked])
    covariance = both @ both.T / x.shape[1] + noise**2 * torch.eye(len(both), dtype=torch.float64)
    n = len(x)
    known, across = covariance[:n, :n], covariance[n:, :n]
    mean = across @ torch.linalg.solve(known, y)
    variance = covariance[n:, n:].diagonal() - (across @ torch.linalg.solve(known, across.T)).diagonal()
    return mean, variance, MultivariateNormal(torch.zeros(n).double(), known).log_prob(y).exp()


@pytest.mark.parametrize("sparsity", [None, 1, 2])
def test_it_conditions_the_joint_normal_distribution_averaged_over_sets(sparsity: int | None) -> None:
    batch = linear_functions(4, 3, 5, noise=0.3, sparsity=sparsity).test.draw(0, 6, 0)
    oracle = LinearOracle(4, 0.3, sparsity)
    found = oracle.predict(oracle.adapt(batch.support), batch.query.x.double())
    for task in range(6):
        total, mean, second = 0.0, 0.0, 0.0
        for chosen in combinations(range(4), sparsity or 4):
            x, asked = (part.x[task].double()[:, list(chosen)] for part in (batch.support, batch.query))
            its_mean, its_variance, density = conditional(x, batch.support.y[task].double(), asked, 0.3)
            total, mean = total + density, mean + density * its_mean
            second = second + density * (its_variance + its_mean**2)
        mean, second = mean / total, second / total
        assert_close(found.mean[task], mean, rtol=1e-6, atol=1e-8)
        assert_close(found.variance[task], second - mean**2, rtol=1e-6, atol=1e-8)


def test_as_many_clean_points_as_weights_tell_everything() -> None:
    scores = qs.evaluate(LinearOracle(5), linear_functions(5, 8).test, tasks=200, device="cpu")
    assert scores.values["mse"].max() < 1e-6
    # A few coordinates are found with fewer examples than there are coordinates.
    sparse = qs.evaluate(LinearOracle(8, sparsity=2), linear_functions(8, 5, sparsity=2).test, tasks=200, device="cpu")
    dense = qs.evaluate(LinearOracle(8), linear_functions(8, 5, sparsity=2).test, tasks=200, device="cpu")
    assert np.median(sparse.values["mse"]) < 1e-6
    assert dense.values["mse"].mean() > 0.1


def test_an_oracle_of_other_tasks_is_worse() -> None:
    source = linear_functions(5, 5, noise=0.5)
    best, clean, nearest = (
        qs.evaluate(who, source.test, device="cpu")
        for who in (LinearOracle(5, 0.5), LinearOracle(5), NearestNeighbour(likelihood=Gaussian()))
    )
    assert compare(best, clean, "mse").better is True
    assert compare(best, clean, "nll").better is True
    assert compare(best, nearest, "mse").better is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": 0}, "dimensions must be at least 1 and noise at least 0, got 0"),
        ({"dimensions": 3, "noise": -1.0}, "noise at least 0, got 3 and -1.0"),
        ({"dimensions": 3, "sparsity": 4}, r"of 1 … dimensions \(3\), got 4"),
        ({"dimensions": 30, "sparsity": 10}, "sparsity 10 of dimensions 30 is more than 1000 sets"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearOracle(**arguments)


@pytest.mark.unchecked
def test_inputs_of_another_length_are_refused() -> None:
    with pytest.raises(TypeError, match=r"takes floating-point inputs x \[task, n, 3\], got torch.float32 \(2, 5, 4\)"):
        LinearOracle(3).adapt(Examples.of(torch.zeros(2, 5, 4), torch.zeros(2, 5)))
