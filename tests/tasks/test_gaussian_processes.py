import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.gaussian_process import kernels as sklearn

from quickstudy.rebuild import describe, rebuild
from quickstudy.tasks import RBF, AnyOf, Kernel, Matern52, Periodic, gaussian_processes

ORACLES = [
    (RBF(0.4, 1.5), 2.25 * sklearn.RBF(0.4)),
    (Matern52(0.4, 1.5), 2.25 * sklearn.Matern(0.4, nu=2.5)),
    (Periodic(0.7, 0.8, 1.5), 2.25 * sklearn.ExpSineSquared(0.7, 0.8)),
]


@pytest.mark.parametrize(("ours", "theirs"), ORACLES)
def test_covariances_are_those_of_scikit_learn(ours: Kernel, theirs: sklearn.Kernel) -> None:
    a, b = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    found = ours.covariance(torch.rand(3, ours.dimensions, dtype=torch.float64), a, b)
    for task in range(3):
        np.testing.assert_allclose(found[task], theirs(a[task, :, None].numpy(), b[task, :, None].numpy()), rtol=1e-10)


def test_ranges_are_spanned_uniformly() -> None:
    """At distance 0 the covariance is σ², at distance 1 an RBF then tells ℓ."""
    member = torch.rand(4000, 2, dtype=torch.float64)
    place = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(4000, 2)
    found = RBF(lengthscale=(0.5, 2.0), scale=(1.0, 3.0)).covariance(member, place, place)
    scale = found[:, 0, 0].sqrt()
    lengthscale = (-2 * (found[:, 0, 1] / found[:, 0, 0]).log()).rsqrt()
    assert stats.kstest(scale, stats.uniform(1, 2).cdf).pvalue > 0.001
    assert stats.kstest(lengthscale, stats.uniform(0.5, 1.5).cdf).pvalue > 0.001


@pytest.mark.parametrize(("ours", "theirs"), ORACLES)
def test_functions_are_of_the_process(ours: Kernel, theirs: sklearn.Kernel) -> None:
    """Whitened by the covariance of another library, the values of every task are independent normal numbers."""
    batch = gaussian_processes(ours, 5, 10, noise=0.3, interval=(-3, 1)).train.draw(0, 400, 0)
    white = []
    for x, y in zip(batch.query.x.double().numpy(), batch.query.y.double().numpy(), strict=True):
        assert -3 <= x.min() < x.max() <= 1
        white.append(np.linalg.solve(np.linalg.cholesky(theirs(x) + 0.09 * np.eye(10)), y))
    assert stats.kstest(np.ravel(white), "norm").pvalue > 0.001
    np.testing.assert_allclose(np.cov(np.array(white).T), np.eye(10), atol=0.3)


def test_support_and_query_are_of_one_function() -> None:
    """A smooth function asked close to where it was seen is close to what was seen."""
    batch = gaussian_processes(RBF(2.0, 1.0), 30, 30, noise=0.0).test.draw(0, 50, 0)
    distance = (batch.query.x - batch.support.x.mT).abs()
    nearest = batch.support.y.gather(1, distance.argmin(2))
    assert ((nearest - batch.query.y).abs() <= 3 * distance.amin(2) + 1e-3).all()


def test_one_of_several_kernels_makes_each_task() -> None:
    both = AnyOf([RBF(0.4, 1.0), Periodic(0.7, 0.8, 2.0)])
    member = torch.rand(1000, both.dimensions, dtype=torch.float64)
    place = torch.randn(1000, 4, dtype=torch.float64)
    found = both.covariance(member, place, place)
    first = member[:, 0] < 0.5
    for number, chosen in enumerate((first, ~first)):
        kernel = both.kernels[number]
        own = kernel.covariance(member[chosen][:, 1 : 1 + kernel.dimensions], place[chosen], place[chosen])
        assert torch.equal(found[chosen], own)
    members, shares = both.grid(3)
    assert members.shape == (2, 4)  # there is no range in either
    assert shares.tolist() == [0.5, 0.5]
    grid, _ = both.grid(3)
    assert torch.equal((grid[:, 0] * 2).long(), torch.tensor([0, 1]))


def test_a_grid_covers_the_ranges() -> None:
    members, shares = RBF(lengthscale=(0.1, 0.6), scale=1.0).grid(4)
    assert members.tolist() == [[0.125, 0.0], [0.375, 0.0], [0.625, 0.0], [0.875, 0.0]]
    assert shares.tolist() == [0.25] * 4
    assert len(Periodic().grid(3)[0]) == 27


def test_draws_do_not_depend_on_how_they_are_cut() -> None:
    source = gaussian_processes(AnyOf([RBF(), Matern52(), Periodic()]), (0, 12))
    whole = source.train.draw(0, 20, 3)
    parts = [source.train.draw(first, 4, 3) for first in range(0, 20, 4)]
    assert torch.equal(torch.cat([part.query.y for part in parts]), whole.query.y)
    assert torch.equal(torch.cat([part.support.mask for part in parts]), whole.support.mask)
    assert whole.support.count.min() < 3
    assert not torch.equal(source.test.draw(0, 20, 3).query.y, whole.query.y)


def test_a_kernel_can_be_written_down() -> None:
    both = AnyOf([RBF(0.3, (1.0, 2.0)), Periodic()])
    back = rebuild(describe(both))
    assert back.describe() == both.describe()
    assert both.describe() == "RBF(lengthscale 0.3, scale 1…2) or " + Periodic().describe()


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RBF(lengthscale=-1.0), "lengthscale must be positive"),
        (lambda: RBF(scale=(2.0, 1.0)), r"rise from its first end, got \(2.0, 1.0\)"),
        (lambda: Periodic(period=(1.0, 2.0, 3.0)), "period must be a number or the two ends of a range"),
        (lambda: AnyOf([]), "kernels must not be empty"),
        (
            lambda: RBF().grid(0),
            "the grid must have at least 1 point along each of 2 ranges",
        ),
        (lambda: gaussian_processes(shots=-1), "shots must not be negative"),
        (lambda: gaussian_processes(noise=-0.1), "noise must be a standard deviation of at least 0"),
        (lambda: gaussian_processes(interval=(1.0, -1.0)), "interval must rise"),
        (lambda: gaussian_processes(interval=(1.0,)), "interval must be the two ends"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.unchecked
def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(TypeError, match="kernel must be a kernel such as RBF"):
        gaussian_processes("rbf")
    with pytest.raises(TypeError, match="kernels must be a sequence of kernels"):
        AnyOf(["rbf"])
    with pytest.raises(TypeError, match="least scale must be a number"):
        RBF(scale="large")
