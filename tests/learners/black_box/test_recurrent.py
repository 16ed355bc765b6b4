import pytest
import torch
from torch import nn
from torch.testing import assert_close

from quickstudy.learners import RecurrentLearner
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def learner(layers: int = 2) -> RecurrentLearner:
    model = RecurrentLearner(MLP(3, (8,)), Gaussian(), width=6, layers=layers).double().eval()
    with torch.no_grad():  # the first state is learned, and begins at zero
        model.first_hidden.normal_()
        model.first_cell.normal_()
    return model


def support(n: int = 5, tasks: int = 2) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


def test_it_is_an_lstm_over_support_and_query() -> None:
    """The sequence of all examples and one query, through torch's LSTM with the same weights."""
    model, examples, asked = learner(), support(), torch.randn(2, 4, 3).double()
    whole = nn.LSTM(6, 6, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for layer, cell in enumerate(model.cells):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(whole, f"{name}_l{layer}").copy_(getattr(cell, name))
    embed = lambda x: model.input(torch.relu(model.network.layers[0](x)))
    start = tuple(state[:, None].expand(-1, 2, -1).contiguous() for state in (model.first_hidden, model.first_cell))
    raw = model.outputs(model.adapt(examples), asked)
    for query in range(4):
        tokens = [embed(examples.x) + model.label(examples.y), embed(asked[:, [query]]) + model.asked]
        assert_close(raw[:, query], model.output(whole(torch.cat(tokens, 1), start)[0][:, -1]))


def test_order_matters() -> None:
    model, examples = learner(), support()
    turned, straight = (model.adapt(part)["hidden"] for part in (examples.map(lambda leaf: leaf.flip(1)), examples))
    assert (turned - straight).abs().amax((1, 2)).min() > 1e-3


def test_reading_on_equals_reading_everything() -> None:
    model, old, new, asked = learner(), support(5), support(3), torch.randn(2, 4, 3).double()
    old.mask[0, 1] = False  # a gap
    new.mask[1] = False
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    read_on = model.update(model.adapt(old), new)
    assert_close(model.outputs(read_on, asked), model.outputs(model.adapt(together), asked))


def test_later_examples_change_no_earlier_state() -> None:
    model, examples = learner(), support()
    first = model.adapt(examples.map(lambda leaf: leaf[:, :3]))
    changed = examples.map(lambda leaf: leaf.clone())
    changed.x[:, 3:] += 1
    changed.mask[:, 3:] = False
    assert_close(model.adapt(changed), first)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="width and layers must be at least 1, got 6 and 0"):
        RecurrentLearner(MLP(3), Gaussian(), 6, 0)
