import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from scipy.integrate import quad
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import compare
from quickstudy.learners import InContextTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import RBF, Binned, Examples, Gaussian, gaussian_processes

BORDERS = [-2.0, -0.5, 0.0, 0.25, 3.0]


def histogram(seed: int = 0) -> torch.distributions.Distribution:
    generator = torch.Generator().manual_seed(seed)
    return Binned(BORDERS).distribution(torch.randn(1, 4, generator=generator).double())


def integral(function: object, low: float = -30.0, high: float = 30.0) -> float:
    value = lambda y: float(function(torch.tensor([y]).double()))
    ends = [low, *(border for border in BORDERS if low < border < high), high]
    return sum(quad(value, a, b)[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moments_and_distribution_function_are_those_of_the_density(seed: int) -> None:
    prediction = histogram(seed)
    density = lambda y: prediction.log_prob(y).exp()
    assert integral(density) == pytest.approx(1)
    mean = integral(lambda y: y * density(y))
    assert float(prediction.mean) == pytest.approx(mean)
    assert float(prediction.variance) == pytest.approx(integral(lambda y: (y - mean) ** 2 * density(y)))
    for end in (-3.0, -1.0, -0.25, 0.1, 0.25, 2.0, 5.0):
        assert float(prediction.cdf(torch.tensor([end]).double())) == pytest.approx(integral(density, high=end))


def test_bins_have_their_probability_and_tails_half_of_theirs_within() -> None:
    prediction = histogram()
    mass = prediction.cdf(torch.tensor(BORDERS).double()).diff()
    probs = prediction.probs[0]
    assert_close(mass[1:-1], probs[1:-1])
    assert_close(mass[[0, -1]], probs[[0, -1]] / 2)


def test_samples_follow_the_distribution_function() -> None:
    torch.manual_seed(0)
    prediction = histogram()
    drawn = prediction.sample((20_000,))
    assert drawn.shape == (20_000, 1)
    for end in (-2.5, -0.5, 0.1, 1.0, 3.5):
        at = torch.tensor([end]).double()
        assert float((drawn < at).double().mean()) == pytest.approx(float(prediction.cdf(at)), abs=0.015)


def test_quantiles() -> None:
    targets = torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    likelihood = Binned.quantiles(targets, 40)
    assert likelihood.outputs == 40
    counts = torch.histogram(targets.double().flatten(), torch.tensor(likelihood.borders).double()).hist
    assert ((counts - 50).abs() <= 1).all()
    # Equal weights are then about the best that can be said of a target without an input.
    equal = likelihood.distribution(torch.zeros(50, 40, 40)).log_prob(targets).mean()
    assert float(equal) == pytest.approx(-0.5 * math.log(2 * math.pi * math.e), abs=0.1)


def test_shapes_and_gradients() -> None:
    raw = torch.randn(2, 3, 4, requires_grad=True)
    prediction = Binned(BORDERS).distribution(raw)
    assert prediction.batch_shape == prediction.mean.shape == prediction.stddev.shape == (2, 3)
    assert prediction.expand((5, 2, 3)).log_prob(torch.zeros(2, 3)).shape == (5, 2, 3)
    prediction.log_prob(torch.tensor([[-1e3, 0.0, 1e3]] * 2)).sum().backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.unchecked  # hundreds of steps
def test_two_peaks(tmp_path: Path) -> None:
    """A target that is a wave or its mirror image: a bell between the two has to be wide."""

    class Mirrored(type(gaussian_processes().train)):
        def draw(self, first: int, count: int, seed: int) -> qs.TaskBatch:
            batch = super().draw(first, count, seed)
            generator = torch.Generator().manual_seed(first + seed)
            for part in (batch.support, batch.query):
                part.y = torch.sin(2 * part.x[..., 0]) + 2
                part.y = part.y * (2 * torch.randint(2, part.y.shape, generator=generator) - 1)
            return batch

    train, test = (Mirrored(name, RBF(), 5, 20, 0.1, (-2.0, 2.0)) for name in ("train", "test"))
    scores = {}
    for likelihood in (Binned.quantiles(train.draw(0, 100, 0).query.y, 30), Gaussian(variance=None)):
        learner = InContextTransformer(MLP(1, (16,)), likelihood, width=16, layers=1, heads=2)
        qs.fit(learner, train, steps=150, batch_size=16, device="cpu")
        scores[type(likelihood)] = qs.evaluate(learner, test, tasks=50, device="cpu")
    assert compare(scores[Binned], scores[Gaussian], "nll").better is True
    qs.save(learner := InContextTransformer(MLP(1, (4,)), Binned(BORDERS), width=4, layers=1, heads=1), tmp_path / "a")
    assert qs.load(tmp_path / "a").likelihood.borders == learner.likelihood.borders == BORDERS


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Binned([0.0, 1.0]), ValueError, "borders must be at least three"),
        (lambda: Binned([0.0, 2.0, 1.0]), ValueError, "borders must rise, got 2.0 before 1.0 at place 2"),
        (lambda: Binned("abc"), TypeError, "borders must be a sequence of numbers"),
        (lambda: Binned.quantiles(torch.zeros(100), 10), ValueError, "some borders coincide"),
        (lambda: Binned.quantiles(torch.zeros(3), 10), ValueError, "more than bins, got 10 and 3"),
        (lambda: Binned.quantiles([1.0], 10), TypeError, "targets must be a floating-point tensor, got list"),
        (lambda: Binned(BORDERS).check(torch.zeros(2, 3, 1)), ValueError, "one number per example"),
    ],
)
def test_bad_arguments(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_as_an_inner_loss() -> None:
    """The log-likelihood of a task is that of its real examples."""
    likelihood, raw, y = Binned(BORDERS), torch.randn(2, 3, 4), torch.randn(2, 3)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    each = likelihood.distribution(raw).log_prob(y)
    result = likelihood.log_prob(raw, Examples(x=y, y=y, mask=mask))
    assert_close(result, torch.stack([each[0, :2].sum(), each[1].sum()]))
