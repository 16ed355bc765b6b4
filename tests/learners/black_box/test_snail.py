import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from quickstudy.learners import SNAIL
from quickstudy.learners.black_box.snail import at, real_first
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def learner(reach: int = 8) -> SNAIL:
    model = SNAIL(MLP(3, (8,)), Gaussian(), width=6, filters=4, attention=5, blocks=2, reach=reach)
    with torch.no_grad():
        model.asked.normal_()
    return model.double().eval()


def support(n: int = 7, tasks: int = 3) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


def tokens_of(model: SNAIL, x: Tensor, label: Tensor) -> Tensor:
    return model.input(torch.relu(model.network.layers[0](x))) + label


def whole(model: SNAIL, sequence: Tensor) -> Tensor:
    """All layers over a whole sequence `[token, width]`, with torch's convolutions and one causal mask."""
    x = sequence.T[None]
    n = x.shape[-1]
    for layer in model.layers:
        if hasattr(layer, "dilation"):
            channels, filters = x.shape[1], layer.taps.out_features // 2
            convolution = nn.Conv1d(channels, 2 * filters, 2, dilation=layer.dilation).double()
            with torch.no_grad():
                now, before = layer.taps.weight.split(channels, 1)
                convolution.weight.copy_(torch.stack([before, now], -1))
                convolution.bias.copy_(layer.taps.bias)
            found, gate = convolution(nn.functional.pad(x, (layer.dilation, 0))).split(filters, 1)
            x = torch.cat([x, found.tanh() * gate.sigmoid()], 1)
        else:
            u = x[0].T
            scores = layer.query(u) @ layer.key(u).T / 5**0.5
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            x = torch.cat([x, (scores.softmax(-1) @ layer.value(u)).T[None]], 1)
    return model.output(x[0].T)


@pytest.mark.parametrize("reach", [2, 5, 8, 32])
def test_asking_phi_equals_the_whole_sequence_from_scratch(reach: int) -> None:
    """Uneven tasks, one with a gap and one without an example: each query is the token after the last real one."""
    model, examples, asked = learner(reach), support(tasks=4), torch.randn(4, 3, 3).double()
    examples.mask[1, 2] = False
    examples.mask[2, 4:] = False
    examples.mask[3] = False
    raw = model.outputs(model.adapt(examples), asked)
    for task in range(4):
        real = examples.mask[task]
        shown = tokens_of(model, examples.x[task, real], model.label(examples.y[[task]])[0, real])
        for query in range(3):
            sequence = torch.cat([shown, tokens_of(model, asked[task, [query]], model.asked)])
            assert_close(raw[task, query], whole(model, sequence)[-1])


def test_no_layer_looks_ahead() -> None:
    model, examples = learner(), support()
    first = model.adapt(examples)
    for place in range(7):
        changed = examples.map(torch.clone)
        changed.x[:, place] += 1
        changed.y[:, place] -= 2
        other = model.adapt(changed)
        assert_close(other["features"][:, :place], first["features"][:, :place], rtol=0, atol=0)
        for name in ("keys", "values"):
            assert_close(other[name][:, :, :place], first[name][:, :, :place], rtol=0, atol=0)
        # What comes after it does change: dilated convolutions and attention reach it.
        assert ((other["features"] - first["features"])[:, place:].abs().amax(-1) > 1e-6).all()


def test_convolutions_alone_reach_every_token_within_reach() -> None:
    model = learner(reach=7)
    x = torch.randn(1, 20, 11).double()
    convolutions = [layer for layer in model.layers if hasattr(layer, "dilation")][:3]
    assert [layer.dilation for layer in convolutions] == [1, 2, 4]

    def last(x: Tensor) -> Tensor:
        for layer in convolutions:
            x = layer(x, nn.functional.pad(x, (0, 0, layer.dilation, 0))[:, :20])
        return x[0, -1]

    slopes = torch.autograd.functional.jacobian(last, x).abs().amax((0, 1, 3))
    assert (slopes[-8:] > 0).all()
    assert (slopes[:-8] == 0).all()


def test_queries_do_not_see_one_another() -> None:
    model, asked = learner(), torch.randn(3, 4, 3).double()
    phi = model.adapt(support())
    changed = asked.clone()
    changed[:, 1] += 1
    difference = (model.outputs(phi, changed) - model.outputs(phi, asked)).abs().amax((0, 2))
    assert difference[1] > 1e-6
    assert_close(difference[[0, 2, 3]], torch.zeros(3).double())


def test_reading_on_equals_reading_everything() -> None:
    model, old, new, asked = learner(), support(5), support(3), torch.randn(3, 4, 3).double()
    old.mask[0, 3:] = False
    new.mask[1, 0] = False
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    read_on = model.update(model.adapt(old), new)
    assert_close(model.outputs(read_on, asked), model.outputs(model.adapt(together), asked))


def test_order_matters() -> None:
    model, examples, asked = learner(), support(), torch.randn(3, 4, 3).double()
    turned = model.adapt(examples.map(lambda leaf: leaf.flip(1)))
    assert (model.outputs(turned, asked) - model.outputs(model.adapt(examples), asked)).abs().max() > 1e-3


def test_real_tokens_come_first() -> None:
    mask = torch.tensor([[False, True, False, True], [True, True, True, True], [False, False, False, True]])
    tokens = torch.arange(4.0).expand(3, 4)[..., None]
    moved = real_first(tokens, mask)[..., 0].tolist()
    assert moved == [[1, 3, 0, 2], [0, 1, 2, 3], [3, 0, 1, 2]]
    assert at(tokens, torch.tensor([2, 0, -1]))[:, 0].tolist() == [2, 0, 0]
    assert at(tokens, torch.tensor([3, -7, 1]))[:, 0].tolist() == [3, 0, 1]


def test_bad_arguments() -> None:
    for arguments in ({"reach": 1}, {"blocks": 0}, {"filters": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}.* got"):
            SNAIL(MLP(3), Gaussian(), **arguments)
