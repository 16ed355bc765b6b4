"""The posterior against another library's, and the average over kernels against brute force."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as sklearn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import GaussianProcessOracle, compare, joint_log_prob
from quickstudy.tasks import RBF, AnyOf, Kernel, Matern52, Periodic, gaussian_processes


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RBF(0.4, 1.5), 2.25 * sklearn.RBF(0.4)),
        (Matern52(0.4, 1.5), 2.25 * sklearn.Matern(0.4, nu=2.5)),
        (Periodic(0.7, 0.8, 1.5), 2.25 * sklearn.ExpSineSquared(0.7, 0.8)),
    ],
)
def test_a_known_kernel_gives_the_posterior_of_scikit_learn(ours: Kernel, theirs: sklearn.Kernel) -> None:
    batch = gaussian_processes(ours, (0, 12), 9, noise=0.1).test.draw(0, 8, 0)
    oracle = GaussianProcessOracle(ours, noise=0.1)
    found = oracle.predict(oracle.adapt(batch.support), batch.query.x.double())
    for task in range(8):
        real = batch.support.mask[task]
        regressor = GaussianProcessRegressor(theirs, alpha=0.01, optimizer=None)
        if real.any():
            regressor.fit(batch.support.x[task, real].double(), batch.support.y[task, real].double())
        mean, deviation = regressor.predict(batch.query.x[task].double(), return_std=True)
        assert_close(found.mean[task], torch.as_tensor(mean), rtol=1e-6, atol=1e-6)
        expected = torch.as_tensor(deviation**2 + 0.01)  # theirs is of the function, without noise
        assert_close(found.variance[task], expected, rtol=1e-5, atol=1e-6)


def test_kernels_are_weighed_by_their_evidence() -> None:
    """The mixture is the sum over kernels of what each predicts, in proportion to the density of the support."""
    kernel = AnyOf([RBF((0.2, 0.6), 1.0), Periodic(0.5, 0.5, 1.0)])
    batch = gaussian_processes(kernel, 6, 5, noise=0.2).test.draw(0, 4, 0)
    oracle = GaussianProcessOracle(kernel, noise=0.2, grid=3)
    found = oracle.predict(oracle.adapt(batch.support), batch.query.x.double()).log_prob(batch.query.y.double())
    candidates = [(1 / 6, RBF(size, 1.0)) for size in (0.2 + 0.4 / 6, 0.4, 0.6 - 0.4 / 6)]
    candidates.append((1 / 2, Periodic(0.5, 0.5, 1.0)))
    joint, evidence = 0.0, 0.0
    for share, each in candidates:
        member = torch.zeros(1, each.dimensions, dtype=torch.float64)
        x, y = batch.support.x[..., 0].double(), batch.support.y.double()
        covariance = each.covariance(member, x, x) + 0.04 * torch.eye(6, dtype=torch.float64)
        density = share * torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(y).exp()
        alone = GaussianProcessOracle(each, noise=0.2)
        likely = alone.predict(alone.adapt(batch.support), batch.query.x.double()).log_prob(batch.query.y.double())
        joint, evidence = joint + density[:, None] * likely.exp(), evidence + density
    assert_close(found, (joint / evidence[:, None]).log())


def test_a_finer_grid_changes_little() -> None:
    source = gaussian_processes(queries=20)
    coarse, fine = (
        qs.evaluate(GaussianProcessOracle(grid=grid), source.test, tasks=40, device="cpu").values["nll"]
        for grid in (12, 24)
    )
    assert np.abs(coarse - fine).mean() < 0.02


def test_knowing_the_kernel_is_better() -> None:
    """The family that made the tasks is better than one of them, and than another."""
    source = gaussian_processes(RBF((0.1, 0.6), 1.0), (3, 20), 20, noise=0.1)
    options = {"tasks": 200, "device": "cpu"}
    best = qs.evaluate(GaussianProcessOracle(RBF((0.1, 0.6), 1.0), 0.1), source.test, **options)
    for wrong in (RBF(0.35, 1.0), Periodic((0.1, 0.6), 0.5, 1.0)):
        other = qs.evaluate(GaussianProcessOracle(wrong, 0.1), source.test, **options)
        assert compare(best, other, "nll").better is True


@pytest.mark.unchecked  # arguments of other types
def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="noise must be positive and the grid have a point, got 0.0 and 12"):
        GaussianProcessOracle(noise=0.0)
    with pytest.raises(ValueError, match="the grid must have .* at most 10000 in all, got 101 along each"):
        GaussianProcessOracle(grid=101)
    with pytest.raises(TypeError, match="kernel must be a kernel such as RBF"):
        GaussianProcessOracle("rbf")
    oracle = GaussianProcessOracle()
    with pytest.raises(TypeError, match="floating-point inputs"):
        oracle.adapt(qs.tasks.Examples.of(torch.zeros(1, 3, 1, dtype=torch.int64), torch.zeros(1, 3)))


@pytest.mark.parametrize("kernel", [Matern52(0.5, 1.2), AnyOf([RBF((0.2, 0.6), 1.0), Periodic(0.5, 0.5, 1.0)])])
def test_queries_together_are_a_chain_of_queries_one_by_one(kernel: Kernel) -> None:
    """The joint density of a mixture of processes is a product: of each query after those before it."""
    batch = gaussian_processes(kernel, (0, 5), 4, noise=0.2).test.draw(0, 6, 0)
    batch.query.mask[2, 1] = False
    oracle = GaussianProcessOracle(kernel, noise=0.2, grid=3)
    together = oracle.log_prob(oracle.adapt(batch.support), batch.query)
    assert_close(together, joint_log_prob(oracle, batch), rtol=1e-5, atol=1e-5)
