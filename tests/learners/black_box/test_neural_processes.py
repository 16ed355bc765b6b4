import math

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import GaussianProcessOracle, compare
from quickstudy.learners import AttentiveNeuralProcess, ConditionalNeuralProcess
from quickstudy.networks import MLP
from quickstudy.tasks import RBF, Categorical, Examples, Gaussian, GaussianMixture, gaussian_processes


def support(n: int = 5, tasks: int = 2) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


def process(**options: object) -> ConditionalNeuralProcess:
    return ConditionalNeuralProcess(MLP(3, (8,)), Gaussian(), context=5, width=7, **options).double().eval()


def attentive(**options: object) -> AttentiveNeuralProcess:
    return AttentiveNeuralProcess(MLP(3, (8,)), Gaussian(), width=8, heads=2, **options).double().eval()


def relu_layers(x: torch.Tensor, *layers: torch.nn.Linear) -> torch.Tensor:
    for layer in layers:
        x = torch.relu(layer(x))
    return x


def test_the_equations_of_the_conditional_process() -> None:
    """h is the mean of e(f(x), y), and the prediction is g of f(x) and h side by side."""
    model, examples, asked = process(), support(), torch.randn(2, 3, 3).double()
    f = lambda x: relu_layers(x, *model.network.layers)
    read = torch.relu(model.reader.input(f(examples.x)) + model.reader.label(examples.y))
    read = model.reader.rest[3](torch.relu(model.reader.rest[1](read)))
    phi = model.adapt(examples)
    assert_close(phi["h"], read.mean(1))
    both = torch.cat([f(asked), phi["h"][:, None].expand(-1, 3, -1)], -1)
    assert_close(model.outputs(phi, asked), model.decoder.output(relu_layers(both, *model.decoder.hidden)))


def test_the_equations_of_film() -> None:
    model, asked = process(condition="film"), torch.randn(2, 3, 3).double()
    phi = model.adapt(support())
    hidden = relu_layers(asked, *model.network.layers)
    for layer, film in zip(model.decoder.hidden, model.decoder.film, strict=True):
        scale, shift = film(phi["h"])[:, None].split(7, -1)
        hidden = torch.relu(layer(hidden) * (1 + scale) + shift)
    assert_close(model.outputs(phi, asked), model.decoder.output(hidden))


@pytest.mark.parametrize("condition", ["concatenate", "film"])
def test_update_equals_reading_everything(condition: str) -> None:
    model, old, new, asked = process(condition=condition), support(5), support(3), torch.randn(2, 4, 3).double()
    old.mask[1] = False  # one task has seen nothing yet
    old.mask[0, 3:] = False
    new.mask[0, 2:] = False
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    expected = model.outputs(model.adapt(together), asked)
    assert_close(model.outputs(model.update(model.adapt(old), new), asked), expected)


def test_one_reading_serves_as_the_average_of_two() -> None:
    """φ is a vector: halfway between two tasks lies that of their examples together."""
    model, examples = process(), support(4)
    one, other = (model.adapt(take_tasks(examples, [task]))["h"] for task in (0, 1))
    merged = Examples.of(examples.x.reshape(1, 8, 3), examples.y.reshape(1, 8))
    assert_close(model.adapt(merged)["h"], (one + other) / 2)


def take_tasks(examples: Examples, tasks: list[int]) -> Examples:
    return examples.map(lambda leaf: leaf[tasks])


def test_the_equations_of_attention() -> None:
    """A query reads values in proportion to how its input matches theirs; g gets that and the mean."""
    model, examples = attentive(layers=1), support(6)
    phi = model.adapt(examples)
    features, _ = model.network(examples.x, examples.mask)
    keys = model.attention.across.key(model.attention.place(features)).unflatten(-1, (2, 4)).transpose(1, 2)
    assert_close(phi["keys"][:, :, 1:], keys)
    query = model.attention.across.query(model.attention.place(features)).unflatten(-1, (2, 4)).transpose(1, 2)
    weights = (query @ phi["keys"].mT / math.sqrt(4)).softmax(-1)
    read = model.attention.across.merge((weights @ phi["values"]).transpose(1, 2).flatten(2))
    both = torch.cat([features, read, phi["h"][:, None].expand(-1, 6, -1)], -1)
    expected = model.decoder.output(torch.relu(model.decoder.hidden[0](both)))
    assert_close(model.outputs(phi, examples.x), expected)


def test_support_examples_attend_to_one_another() -> None:
    """A value depends on the other examples, a key on its own input alone."""
    model, examples = attentive(), support(4)
    before = model.adapt(examples)
    changed = examples.map(lambda leaf: leaf.clone())
    changed.y[:, 3] += 1
    after = model.adapt(changed)
    assert torch.equal(after["keys"], before["keys"])
    assert not torch.isclose(after["values"][:, :, 1:4], before["values"][:, :, 1:4]).all()


@pytest.mark.parametrize("cls", [ConditionalNeuralProcess, AttentiveNeuralProcess])
def test_other_likelihoods(cls: type[ConditionalNeuralProcess] | type[AttentiveNeuralProcess]) -> None:
    x, asked = torch.randn(2, 5, 3), torch.randn(2, 3, 3)
    model = cls(MLP(3, (8,)), Categorical(4), width=8)
    phi = model.adapt(Examples.of(x, torch.randint(0, 4, (2, 5))), torch.ones(2, 4, dtype=torch.bool))
    assert model.predict(phi, asked).probs.shape == (2, 3, 4)
    model = cls(MLP(3, (8,)), Gaussian(2, variance=None), width=8)
    assert model.predict(model.adapt(Examples.of(x, torch.randn(2, 5, 2))), asked).mean.shape == (2, 3, 2)
    model = cls(MLP(3, (8,)), GaussianMixture(3), width=8)
    mixture = model.predict(model.adapt(Examples.of(x, torch.randn(2, 5))), asked)
    assert mixture.log_prob(torch.zeros(2, 3)).shape == mixture.mean.shape == (2, 3)


@pytest.mark.unchecked  # hundreds of steps
def test_they_come_between_knowing_nothing_and_knowing_all() -> None:
    """On functions of a Gaussian process: attention is better than an average, and neither is better than Bayes."""
    source = gaussian_processes(RBF(0.5, 1.0), (3, 20), 20, noise=0.1)
    scores = {}
    for cls in (ConditionalNeuralProcess, AttentiveNeuralProcess):
        torch.manual_seed(0)
        learner = cls(MLP(1, (64,)), Gaussian(variance=None), width=64)
        qs.fit(learner, source.train, steps=400, batch_size=32, device="cpu")
        scores[cls] = qs.evaluate(learner, source.test, tasks=300, device="cpu")
    best = qs.evaluate(GaussianProcessOracle(RBF(0.5, 1.0), 0.1), source.test, tasks=300, device="cpu")
    nothing = 0.5 * math.log(2 * math.pi * 1.01) + 0.5  # of a normal variable of the variance of y
    assert compare(scores[AttentiveNeuralProcess], scores[ConditionalNeuralProcess], "nll").better is True
    for score in scores.values():
        assert score.values["nll"].mean() < nothing - 0.2
        assert compare(best, score, "nll").better is True


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (process, {"layers": 0}, "context, width and layers must be at least 1, got 5, 7 and 0"),
        (process, {"condition": "add"}, "condition must be one of concatenate, film, got 'add'"),
        (attentive, {"layers": 0}, "must be positive"),
    ],
)
@pytest.mark.unchecked  # arguments of other types
def test_bad_arguments(make: object, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width a multiple of heads, got 10, 2, 4"):
        AttentiveNeuralProcess(MLP(3), Gaussian(), width=10, heads=4)
