"""The optimum against brute force, and against what the optimum must be."""

import math

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import SinusoidOracle, compare
from quickstudy.learners import InContextTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, sinusoids


@pytest.mark.parametrize(("shots", "noise"), [(0, 0.3), (1, 0.3), (3, 0.3), (10, 0.3), (10, 1.0), (1, 0.05)])
def test_equals_a_brute_force_posterior(shots: int, noise: float) -> None:
    batch = sinusoids(shots, 20, noise).test.draw(0, 6, 0)
    oracle = SinusoidOracle(noise)
    mean = oracle.predict(oracle.adapt(batch.support), batch.query.x).mean
    grid = lambda low, high: low + (high - low) * (torch.arange(1200, dtype=torch.float64) + 0.5) / 1200
    amplitude, phase = grid(0.1, 5.0)[:, None], grid(0.0, math.pi)
    for task in range(6):
        fit = amplitude[..., None] * torch.sin(batch.support.x[task, :, 0].double() - phase[:, None])
        weights = (-(fit - batch.support.y[task].double()).square().sum(-1) / (2 * noise**2)).flatten().softmax(0)
        weights = weights.view(1200, 1200)
        waves = torch.sin(batch.query.x[task, :, 0].double()[:, None] - phase)
        expected = waves @ (weights * amplitude).sum(0)
        assert_close(mean[task].double(), expected, rtol=0.0, atol=2e-3)


def test_two_clean_points_tell_everything() -> None:
    scores = qs.evaluate(SinusoidOracle(), sinusoids(5).test, tasks=300, device="cpu")
    assert scores.values["mse"].max() < 1e-4


def test_prior_mean_without_shots() -> None:
    """E[a sin(x − p)] over the prior is 2.55 · (−2 cos x) / π, up to sign conventions worked out by hand."""
    oracle = SinusoidOracle(0.3)
    x = torch.linspace(-5, 5, 21).reshape(1, -1, 1)
    nothing = sinusoids(0).test.draw(0, 1, 0).support
    mean = oracle.predict(oracle.adapt(nothing), x).mean[0]
    assert_close(mean, -2.55 * 2 / math.pi * torch.cos(x[0, :, 0]), rtol=1e-4, atol=1e-4)


def test_no_learner_is_better() -> None:
    source = sinusoids(4, 20, noise=0.5)
    torch.manual_seed(0)
    learner = InContextTransformer(MLP(1, (32,)), Gaussian(), width=32, layers=2, heads=2)
    qs.fit(learner, source.train, steps=300, batch_size=32, device="cpu")
    best, learned = (qs.evaluate(who, source.test, device="cpu") for who in (SinusoidOracle(0.5), learner))
    assert compare(best, learned, "mse").better is True


@pytest.mark.parametrize("arguments", [{"noise": -1.0}, {"grid": 3}])
def test_bad_arguments(arguments: dict) -> None:
    with pytest.raises(ValueError, match="noise must be at least 0 and grid at least 16"):
        SinusoidOracle(**arguments)
