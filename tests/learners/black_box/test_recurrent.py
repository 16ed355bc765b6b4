import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from quickstudy.learners import RecurrentLearner
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def learner(layers: int = 2, labels: str = "beside") -> RecurrentLearner:
    model = RecurrentLearner(MLP(3, (8,)), Gaussian(), width=6, layers=layers, labels=labels).double().eval()
    with torch.no_grad():  # the first state is learned, and begins at zero
        model.first_hidden.normal_()
        model.first_cell.normal_()
        model.asked.normal_()
    return model


def support(n: int = 5, tasks: int = 2) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


def through_torch(model: RecurrentLearner, sequence: Tensor) -> Tensor:
    """The last output for sequences `[row, token, width]`, through torch's LSTM with the same weights."""
    whole = nn.LSTM(6, 6, num_layers=2, batch_first=True).double()
    with torch.no_grad():
        for layer, cell in enumerate(model.cells):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(whole, f"{name}_l{layer}").copy_(getattr(cell, name))
    start = tuple(
        state[:, None].expand(-1, len(sequence), -1).contiguous() for state in (model.first_hidden, model.first_cell)
    )
    return model.output(whole(sequence, start)[0][:, -1])


def embedded(model: RecurrentLearner, x: Tensor) -> Tensor:
    return model.input(torch.relu(model.network.layers[0](x)))


def test_it_is_an_lstm_over_support_and_query() -> None:
    """The sequence of all examples and one query."""
    model, examples, asked = learner(), support(), torch.randn(2, 4, 3).double()
    raw = model.outputs(model.adapt(examples), asked)
    for query in range(4):
        tokens = [
            embedded(model, examples.x) + model.label(examples.y),
            embedded(model, asked[:, [query]]) + model.asked,
        ]
        assert_close(raw[:, query], through_torch(model, torch.cat(tokens, 1)))


def test_shifted_labels_come_with_the_next_input() -> None:
    """Sequences put together by hand, of uneven tasks with a gap: x_1 without a label, x_2 with y_1, …, x with y_n."""
    model, examples, asked = learner(labels="shifted"), support(), torch.randn(2, 4, 3).double()
    examples.mask[0, 1] = False
    examples.mask[1, 3:] = False
    raw = model.outputs(model.adapt(examples), asked)
    for task, real in enumerate(([0, 2, 3, 4], [0, 1, 2])):
        labels = [model.asked, *(model.label(examples.y[[task]])[0, place] for place in real)]
        for query in range(4):
            inputs = torch.cat([examples.x[task, real], asked[task, [query]]])
            sequence = embedded(model, inputs) + torch.stack(labels)
            assert_close(raw[task, query], through_torch(model, sequence[None])[0])


def test_shifted_labels_of_an_empty_support() -> None:
    model, asked = learner(labels="shifted"), torch.randn(2, 4, 3).double()
    raw = model.outputs(model.adapt(support(0)), asked)
    assert_close(raw[1, 2], through_torch(model, embedded(model, asked[[1], 2:3]) + model.asked)[0])


def test_order_matters() -> None:
    model, examples = learner(), support()
    turned, straight = (model.adapt(part)["hidden"] for part in (examples.map(lambda leaf: leaf.flip(1)), examples))
    assert (turned - straight).abs().amax((1, 2)).min() > 1e-3


@pytest.mark.parametrize("labels", ["beside", "shifted"])
def test_reading_on_equals_reading_everything(labels: str) -> None:
    model, old, new, asked = learner(labels=labels), support(5), support(3), torch.randn(2, 4, 3).double()
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


@pytest.mark.unchecked
def test_unknown_place_of_labels() -> None:
    with pytest.raises(ValueError, match="labels must be one of beside, shifted, got 'before'"):
        RecurrentLearner(MLP(3), Gaussian(), labels="before")
