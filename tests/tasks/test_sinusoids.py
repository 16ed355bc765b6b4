import math

import numpy as np
import pytest
import torch
from scipy import stats

from quickstudy.tasks import sinusoids


def test_tasks_are_sinusoids_of_the_family() -> None:
    """y = u sin x + v cos x solves every task exactly, with amplitude and phase in their ranges and uniform."""
    batch = sinusoids(10, 20).train.draw(0, 2000, 0)
    x, y = batch.query.x[..., 0].double(), batch.query.y.double()
    basis = torch.stack([x.sin(), x.cos()], -1)
    weights = torch.linalg.lstsq(basis, y[..., None]).solution
    assert ((basis @ weights)[..., 0] - y).abs().max() < 1e-4
    amplitude = weights.norm(dim=1)[:, 0].numpy()
    phase = torch.atan2(-weights[:, 1, 0], weights[:, 0, 0]).numpy() % (2 * math.pi)
    assert stats.kstest(amplitude, stats.uniform(0.1, 4.9).cdf).pvalue > 0.001
    phase = np.where(phase > 2 * math.pi - 1e-3, 0, phase)
    assert phase.max() <= math.pi + 1e-3
    assert stats.kstest(phase, stats.uniform(0, math.pi).cdf).pvalue > 0.001
    assert -5 <= x.min() < -4.9 < 4.9 < x.max() <= 5


def test_noise_has_the_given_deviation() -> None:
    clean, noisy = (sinusoids(10, 50, noise=noise).train.draw(0, 500, 0) for noise in (0.0, 0.3))
    difference = (noisy.query.y - clean.query.y).flatten().numpy()
    assert stats.kstest(difference / 0.3, "norm").pvalue > 0.001


def test_ranges_of_shots_include_none() -> None:
    batch = sinusoids((0, 4)).train.draw(0, 500, 0)
    batch.check_values()
    assert set(batch.support.count.tolist()) == {0, 1, 2, 3, 4}


def test_splits_differ_and_repeat() -> None:
    source = sinusoids(5)
    assert not torch.equal(source.train.draw(0, 3, 0).query.y, source.test.draw(0, 3, 0).query.y)
    assert torch.equal(source.test.draw(1, 2, 0).query.y, source.test.draw(0, 3, 0).query.y[1:])


def test_the_truth_is_what_examples_are_of() -> None:
    """At the inputs of noise-free draws it is their targets, also of tasks with noise and of other numbers of shots."""
    split = sinusoids((2, 7), queries=9).test
    batch = split.draw(3, 5, 2)
    for task in range(5):
        assert torch.allclose(split.truth(3 + task, batch.query.x[task], 2)[:, 0], batch.query.y[task], atol=1e-5)
        real = batch.support.mask[task]
        given = split.truth(3 + task, batch.support.x[task, :, 0], seed=2)
        assert torch.allclose(given[real], batch.support.y[task][real], atol=1e-5)
    noisy = sinusoids((2, 7), queries=9, noise=0.5).test
    x = torch.linspace(-5, 5, 50, dtype=torch.float64).reshape(5, 10)
    assert torch.equal(noisy.truth(4, x), split.truth(4, x))
    assert noisy.truth(4, x).dtype == torch.float64
    assert not torch.allclose(split.truth(4, x), split.truth(4, x, seed=1))


@pytest.mark.parametrize(("arguments", "message"), [((-1,), "shots"), ((3, 0), "queries"), ((3, 5, -1.0), "noise")])
def test_bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sinusoids(*arguments)
