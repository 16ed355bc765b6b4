"""Linear functions, ReLU networks and decision trees: what they are, against torch's and scikit-learn's own."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from quickstudy.tasks import TaskSource, decision_trees, linear_functions, relu_networks

FAMILIES = [linear_functions, relu_networks, decision_trees]


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_values_have_the_moments_that_are_documented(family: object) -> None:
    query = family(5, shots=0, queries=20).train.draw(0, 4000, 0).query
    assert query.x.shape == (4000, 20, 5)
    assert stats.kstest(query.x[:, 0].flatten().numpy(), "norm").pvalue > 0.001
    assert abs(query.y.mean()) < 0.03
    assert abs(query.y.square().mean() - 1) < 0.08


@pytest.mark.parametrize("family", FAMILIES)
def test_another_scale_asks_about_the_same_functions(family: object) -> None:
    one, three = (family(4, scale=scale).test.draw(0, 6, 0) for scale in (1.0, 3.0))
    assert_close(three.support.x, 3 * one.support.x)
    # The first two classes are homogeneous, and trees see signs alone.
    factor = 1 if family is decision_trees else 3
    assert_close(three.query.y, factor * one.query.y, rtol=1e-4, atol=1e-5)
    apart = family(4, query_scale=3.0).test.draw(0, 6, 0)
    assert_close(apart.support.x, one.support.x)
    assert_close(apart.query.x, 3 * one.query.x)
    assert_close(apart.query.y, three.query.y)


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_is_added_to_the_same_functions(family: object) -> None:
    clean, noisy = (family(4, shots=4, queries=30, noise=noise).test.draw(0, 200, 0) for noise in (0.0, 0.5))
    assert torch.equal(clean.query.x, noisy.query.x)
    noise = torch.cat([noisy.support.y - clean.support.y, noisy.query.y - clean.query.y], 1)
    assert stats.kstest(noise.flatten().numpy() / 0.5, "norm").pvalue > 0.001


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_do_not_depend_on_how_they_are_cut(family: object) -> None:
    source = family(5, shots=(0, 12), noise=0.1)
    whole = source.train.draw(0, 20, 3)
    parts = [source.train.draw(first, 4, 3) for first in range(0, 20, 4)]
    assert torch.equal(torch.cat([part.query.y for part in parts]), whole.query.y)
    assert torch.equal(torch.cat([part.support.mask for part in parts]), whole.support.mask)
    assert whole.support.count.min() < 3
    for other in (source.test.draw(0, 20, 3), source.train.draw(0, 20, 4)):
        assert not torch.equal(other.query.y, whole.query.y)


@pytest.mark.parametrize("family", FAMILIES)
def test_support_and_query_are_of_the_function_that_truth_gives(family: object) -> None:
    split = family(3, noise=0.0).test
    batch = split.draw(0, 9, 5)
    for part in (batch.support, batch.query):
        assert_close(split.truth(7, part.x[7], seed=5), part.y[7], rtol=1e-4, atol=1e-5)


def test_linear_functions_are_linear() -> None:
    batch = linear_functions(6, shots=6, queries=20).train.draw(0, 50, 0)
    weights = torch.linalg.solve(batch.support.x.double(), batch.support.y.double())
    assert_close((batch.query.x.double() @ weights[..., None])[..., 0], batch.query.y.double(), rtol=1e-3, atol=1e-3)


def test_sparse_functions_use_a_few_coordinates_each_as_often() -> None:
    split = linear_functions(6, sparsity=2).train
    weights = split.weights(np.random.default_rng(0).random((6000, split.parameters)))
    assert ((weights != 0).sum(1) == 2).all()
    assert stats.chisquare((weights != 0).sum(0)).pvalue > 0.001
    assert stats.kstest(weights[weights != 0] * np.sqrt(2), "norm").pvalue > 0.001


def test_relu_networks_are_networks_of_torch() -> None:
    split = relu_networks(3, hidden=5).train
    numbers = np.random.default_rng(0).random((2, split.parameters))
    x = np.random.default_rng(1).normal(size=(2, 7, 3))
    found = split.values(numbers, x)
    for task in range(2):
        weights = torch.from_numpy(stats.norm.ppf(numbers[task]))
        network = torch.nn.Sequential(torch.nn.Linear(3, 5, False), torch.nn.ReLU(), torch.nn.Linear(5, 1, False))
        with torch.no_grad():
            network.double()[0].weight.copy_(weights[5:].reshape(3, 5).T)
            network[2].weight.copy_(weights[None, :5])
            expected = network(torch.from_numpy(x[task]))[:, 0] * (2 / (5 * 3)) ** 0.5
        np.testing.assert_allclose(found[task], expected, rtol=1e-10)


def test_trees_are_walked_from_the_root() -> None:
    """One by one, with a walk that is written as trees are explained."""
    split = decision_trees(3, depth=3).train
    numbers = np.random.default_rng(0).random((4, split.parameters))
    x = np.random.default_rng(1).normal(size=(4, 50, 3))
    found = split.values(numbers, x)
    for task in range(4):
        assert len(np.unique(found[task])) <= 8
        for point in range(50):
            place, width = 0, 7
            for _ in range(3):
                coordinate = int(numbers[task, place] * 3)
                place = 2 * place + (2 if x[task, point, coordinate] > 0 else 1)
            assert found[task, point] == pytest.approx(stats.norm.ppf(numbers[task, 7 + place - width]))


@pytest.mark.parametrize(
    ("source", "own"),
    [
        (linear_functions(4, sparsity=2), {"data": "linear functions", "sparsity": 2}),
        (relu_networks(4, hidden=7), {"data": "ReLU networks", "hidden": 7}),
        (decision_trees(4, depth=2, scale=3.0), {"data": "decision trees", "depth": 2, "scale": 3.0}),
    ],
)
def test_the_protocol_says_what_they_are(source: TaskSource, own: dict) -> None:
    assert source.protocol.items() >= own.items()
    assert source.protocol["dimensions"] == 4
    assert set(source.protocol) >= {"shots", "queries", "noise", "scale", "query scale"}


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear_functions(0), "dimensions must be at least 1, got 0"),
        (lambda: linear_functions(3, sparsity=4), r"sparsity must be None or of 1 … dimensions \(3\), got 4"),
        (lambda: linear_functions(shots=-1), "shots must not be negative"),
        (lambda: linear_functions(queries=0), "queries at least 1"),
        (lambda: linear_functions(noise=-0.1), "noise must be a standard deviation of at least 0"),
        (lambda: relu_networks(hidden=0), "hidden must be at least 1 unit"),
        (lambda: relu_networks(scale=0.0), "scale and query_scale must be positive, got 0.0"),
        (lambda: decision_trees(depth=17), "depth must be of 1 … 16, got 17"),
        (lambda: decision_trees(query_scale=-1.0), "scale and query_scale must be positive"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
