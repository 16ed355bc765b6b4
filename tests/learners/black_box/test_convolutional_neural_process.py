import math

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import GaussianProcessOracle, compare
from quickstudy.learners import ConditionalNeuralProcess, ConvolutionalNeuralProcess
from quickstudy.networks import MLP
from quickstudy.tasks import RBF, Categorical, Examples, Gaussian, GaussianMixture, Likelihood, gaussian_processes


def process(likelihood: Likelihood | None = None, **options: object) -> ConvolutionalNeuralProcess:
    sizes = {"resolution": 8, "channels": 5, "layers": 2, "kernel": 3, **options}
    return ConvolutionalNeuralProcess(likelihood or Gaussian(variance=None), **sizes).double().eval()


def inputs(n: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(2, n, 1).double()


def test_the_set_convolution_by_hand() -> None:
    """Density and mean label at every point of the grid, and the readout as a weighted mean."""
    model, x, y, asked = process(), inputs(4), torch.randn(2, 4).double(), inputs(3)
    examples = Examples.of(x, y)
    examples.mask[1, 3] = False
    wide, narrow = model.log_spread.exp().tolist()
    phi = model.adapt(examples)
    signal = torch.zeros(2, 2, len(model.points)).double()
    for task in range(2):
        for place, t in enumerate(model.points.tolist()):
            real = range(4 if task == 0 else 3)
            weights = [math.exp(-((t - float(x[task, j, 0])) ** 2) / (2 * wide**2)) for j in real]
            signal[task, 0, place] = sum(weights)
            labels = sum(weight * float(y[task, j]) for j, weight in zip(real, weights, strict=True))
            signal[task, 1, place] = labels / (sum(weights) + 1e-8)
    hidden = model.input(signal)
    for block in model.blocks:
        hidden = hidden + block(torch.relu(hidden))
    assert_close(phi["features"], hidden)
    expected = torch.zeros(2, 3, 2).double()
    for task in range(2):
        for query in range(3):
            weights = torch.exp(-((asked[task, query] - model.points) ** 2) / (2 * narrow**2))
            expected[task, query] = model.output(torch.relu((weights * hidden[task]).sum(-1) / weights.sum()))
    assert_close(model.outputs(phi, asked), expected)


@pytest.mark.parametrize("steps", [1, -3, 16])
def test_translation(steps: int) -> None:
    """Data and queries moved by steps of the grid give the predictions that they gave before."""
    model = process(interval=(-4.0, 4.0), layers=4)
    x, y, asked = inputs(6), torch.randn(2, 6).double(), inputs(5)
    before = model.outputs(model.adapt(Examples.of(x, y)), asked)
    moved = model.outputs(model.adapt(Examples.of(x + steps / 8, y)), asked + steps / 8)
    assert_close(moved, before, rtol=1e-7, atol=1e-7)
    assert not torch.allclose(model.outputs(model.adapt(Examples.of(x, y)), asked + steps / 8), before)


def test_the_ends_of_the_interval_are_like_its_middle() -> None:
    model = process(interval=(-1.0, 1.0))
    wide = process(interval=(-9.0, 9.0))
    wide.load_state_dict({**model.state_dict(), "points": wide.points})
    x, y, asked = inputs(6), torch.randn(2, 6).double(), torch.tensor([[[-1.0], [1.0]]] * 2).double()
    one, other = (each.outputs(each.adapt(Examples.of(x, y)), asked) for each in (model, wide))
    assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_update_equals_reading_everything() -> None:
    model, x, y = process(), inputs(7), torch.randn(2, 7).double()
    old, new = Examples.of(x[:, :4], y[:, :4]), Examples.of(x[:, 4:], y[:, 4:])
    assert_close(model.update(model.adapt(old), new)["features"], model.adapt(Examples.of(x, y))["features"])


def test_other_likelihoods() -> None:
    x, asked = inputs(5), inputs(3)
    model = process(Categorical(4))
    phi = model.adapt(Examples.of(x, torch.randint(0, 4, (2, 5))), torch.ones(2, 4, dtype=torch.bool))
    assert phi["sums"].shape[1] == 5
    assert model.predict(phi, asked).probs.shape == (2, 3, 4)
    model = process(Gaussian(2, variance=None))
    assert model.predict(model.adapt(Examples.of(x, torch.randn(2, 5, 2).double())), asked).mean.shape == (2, 3, 2)
    model = process(GaussianMixture(3))
    assert model.predict(model.adapt(Examples.of(x[..., 0], torch.randn(2, 5).double())), asked[..., 0]).mean.ndim == 2


def test_inputs_it_has_no_place_for() -> None:
    model = process()
    with pytest.raises(ValueError, match=r"x must be one floating-point number per example.*\(2, 3, 2\).*a network"):
        model.adapt(Examples.of(torch.randn(2, 3, 2).double(), torch.randn(2, 3).double()))
    phi = model.adapt(Examples.of(inputs(3), torch.randn(2, 3).double()))
    with pytest.raises(ValueError, match=r"x is 2.5 for example 1 of task 0, outside of the interval \(-2.0, 2.0\)"):
        model.predict(phi, torch.tensor([[[0.0], [2.5]]] * 2).double())
    wide = process(network=MLP(2, (8,)))
    learned = Examples.of(100 * torch.randn(2, 3, 2).double(), torch.randn(2, 3).double())
    assert torch.isfinite(wide.outputs(wide.adapt(learned), learned.x)).all()


@pytest.mark.unchecked  # hundreds of steps
def test_it_learns_more_than_an_average_in_as_many_steps() -> None:
    source = gaussian_processes(RBF(0.5, 1.0), (3, 20), 20, noise=0.1)
    scores = {}
    for name, learner in (
        ("convolution", ConvolutionalNeuralProcess(Gaussian(variance=None), resolution=8, channels=24, layers=4)),
        ("average", ConditionalNeuralProcess(MLP(1, (64,)), Gaussian(variance=None), width=64)),
    ):
        qs.fit(learner, source.train, steps=300, batch_size=16, device="cpu")
        scores[name] = qs.evaluate(learner, source.test, tasks=200, device="cpu")
    best = qs.evaluate(GaussianProcessOracle(RBF(0.5, 1.0), 0.1), source.test, tasks=200, device="cpu")
    assert compare(scores["convolution"], scores["average"], "nll").better is True
    assert compare(best, scores["convolution"], "nll").better is True


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 4}, "kernel odd, got 8, 5, 2 and 4"),
        ({"interval": (1.0, 1.0)}, "interval must rise"),
        ({"interval": (0.0, 1e9)}, "at most 65536 points"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process(**options)
