import numpy as np
import pytest
import torch
from scipy.signal import sawtooth
from torch.testing import assert_close

from quickstudy.tasks import sawtooths


def test_waves_are_those_of_scipy() -> None:
    """A rising wave of scipy's goes from −1 to 1 in 2π; what was drawn is found again from its numbers."""
    split = sawtooths(shots=5, queries=4, noise=0.0).test
    numbers = split._numbers(0, 50, 3)[:, 1:4]
    batch = split.draw(0, 50, 3)
    for task, (rate, phase, side) in enumerate(numbers):
        sign = -1 if side < 0.5 else 1
        x = batch.query.x[task, :, 0].double().numpy()
        turns = sign * (0.5 + rate) * x + phase
        assert_close(
            batch.query.y[task].double(), torch.from_numpy(np.sqrt(3) * sawtooth(2 * np.pi * turns)), atol=1e-4, rtol=0
        )


def test_values_have_a_variance_of_one() -> None:
    y = sawtooths(shots=10, queries=40, noise=0.0).train.draw(0, 500, 0).query.y
    assert abs(float(y.var()) - 1) < 0.05
    assert abs(float(y.mean())) < 0.05


def test_the_truth_is_what_examples_are_of() -> None:
    split = sawtooths(shots=6, queries=4, noise=0.0).validation
    batch = split.draw(7, 1, 2)
    assert_close(split.truth(7, batch.support.x[0], seed=2), batch.support.y[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("frequency", [(0.0, 1.0), (2.0, 1.0)])
def test_frequencies_that_cannot_be(frequency: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="frequency must be positive, the least first"):
        sawtooths(frequency=frequency)
