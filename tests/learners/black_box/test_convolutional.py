import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from quickstudy.learners import ConvolutionalReader
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def learner(layers: int = 3) -> ConvolutionalReader:
    return ConvolutionalReader(MLP(3, (8,)), Gaussian(), width=6, layers=layers).double().eval()


def support(n: int = 9, tasks: int = 3) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


def by_hand(model: ConvolutionalReader, x: Tensor, y: Tensor) -> Tensor:
    """h of one task: every tap of every convolution, one after the other."""
    u = list(model.input(torch.relu(model.network.layers[0](x))) + model.label(y[None])[0])
    nothing = torch.zeros(6).double()
    for power, layer in enumerate(model.reader):
        taps, distance = layer.gather.weight.unbind(-1), 2**power
        after = []
        for j in range(len(u)):
            seen = [u[i] if 0 <= i < len(u) else nothing for i in (j - distance, j, j + distance)]
            found = sum(tap @ token for tap, token in zip(taps, seen, strict=True)) + layer.gather.bias
            after.append(u[j] + layer.back(torch.relu(found)))
        u = after
    return torch.stack(u).mean(0)


def test_h_is_what_the_convolutions_say() -> None:
    """Uneven tasks, one with a gap: what is left is one sequence."""
    model, examples = learner(), support()
    examples.mask[1, 2] = False
    examples.mask[2, 4:] = False
    h = model.adapt(examples)["h"]
    for task, real in enumerate(examples.mask):
        assert_close(h[task], by_hand(model, examples.x[task, real], examples.y[task, real]))


def test_nothing_is_read_of_an_empty_support() -> None:
    assert (learner().adapt(support(0))["h"] == 0).all()


def test_an_example_sees_as_far_as_promised() -> None:
    model = learner(3)
    tokens, real = torch.randn(1, 31, 6).double(), torch.ones(1, 31, dtype=torch.bool)

    def middle(tokens: Tensor) -> Tensor:
        for layer in model.reader:
            tokens = layer(tokens, real)
        return tokens[0, 15]

    slopes = torch.autograd.functional.jacobian(middle, tokens).abs().amax((0, 1, 3))
    assert slopes[:8].max() == slopes[23:].max() == 0
    assert (slopes[8:23] > 0).all()


def test_order_matters() -> None:
    model, examples = learner(), support()
    turned = model.adapt(examples.map(lambda leaf: leaf.flip(1)))["h"]
    assert (turned - model.adapt(examples)["h"]).abs().amax(1).min() > 1e-4


def test_it_does_not_read_on() -> None:
    model = learner()
    with pytest.raises(NotImplementedError, match="ConvolutionalReader cannot add examples"):
        model.update(model.adapt(support()), support())


def test_bad_arguments() -> None:
    for arguments in ({"layers": 0}, {"layers": 17}, {"width": 0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ConvolutionalReader(MLP(3), Gaussian(), **arguments)
    assert isinstance(ConvolutionalReader(MLP(3), Gaussian(), layers=16).reader[15].gather, nn.Conv1d)
