import pytest
import torch
from torch.testing import assert_close

from quickstudy.learners import Hypernetwork
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def hypernetwork(**options: object) -> Hypernetwork:
    sizes = {"hidden": (4, 6), "context": 5, "width": 7, **options}
    return Hypernetwork(MLP(3, (8,)), Gaussian(), **sizes).double().eval()


def support(n: int) -> Examples:
    return Examples.of(torch.randn(2, n, 3).double(), torch.randn(2, n).double())


def test_each_task_has_a_network_of_its_own() -> None:
    """Its weights, put into layers of torch, predict what the learner predicts."""
    model, asked = hypernetwork(), torch.randn(2, 5, 3).double()
    phi = model.adapt(support(4))
    outputs = model.outputs(phi, asked)
    for task in range(2):
        hidden = torch.relu(model.network.layers[0](asked[task]))
        for number, (inputs, width) in enumerate(((8, 4), (4, 6), (6, 1))):
            layer = torch.nn.Linear(inputs, width).double()
            layer.load_state_dict({name: part[task] for name, part in phi[f"layer{number}"].items()})
            hidden = layer(hidden) if number == 2 else torch.relu(layer(hidden))
        assert_close(outputs[task], hidden)


def test_weights_are_linear_in_what_was_read() -> None:
    """Those of an empty support are those that all tasks begin from."""
    model, examples = hypernetwork(), support(4)
    phi = model.adapt(examples)
    features, _ = model.network(examples.x, examples.mask)
    read = torch.relu(model.reader.input(features) + model.reader.label(examples.y))
    h = model.reader.rest[3](torch.relu(model.reader.rest[1](read))).mean(1)
    written = torch.cat([phi[f"layer{i}"][name].flatten(1) for i in range(3) for name in ("weight", "bias")], 1)
    assert_close(written, model.writer(h))
    examples.mask[:] = False
    nothing = model.adapt(examples)
    assert_close(nothing["layer0"]["weight"].flatten(1), model.writer.bias[:32].expand(2, -1))


def test_update_equals_reading_everything() -> None:
    model, old, new = hypernetwork(), support(5), support(3)
    old.mask[1] = False
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    updated, expected = model.update(model.adapt(old), new), model.adapt(together)
    assert_close(updated["layer1"], expected["layer1"])
    assert_close(updated["count"], expected["count"])


def test_a_linear_map() -> None:
    model = hypernetwork(hidden=())
    assert set(model.adapt(support(2))) == {"h", "count", "statistics", "layer0"}


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden": (0,)}, ValueError, "hidden, context, width and layers must be at least 1"),
        ({"hidden": 32}, TypeError, "hidden must be a sequence of widths"),
        ({"context": 0}, ValueError, "context"),
    ],
)
def test_bad_arguments(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hypernetwork(**options)
