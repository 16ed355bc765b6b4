import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import CAVIA
from quickstudy.networks import MLP, Conv4, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch

from .test_maml import double, regression

__all__ = ["double"]


def appended(steps: int = 2) -> CAVIA:
    network = PerExample(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh()), 4)
    return CAVIA(network, Gaussian(), 3, None, steps, 0.5)


def test_equals_the_method_written_out() -> None:
    """A loop over tasks, the context appended to the input, in value and in all gradients."""
    learner, batch = appended(), regression()
    module = nn.Sequential(*learner.network.module, learner.predictor.head)
    total = 0.0
    for task in range(3):
        real = batch.support.mask[task]
        x, y = batch.support.x[task][real], batch.support.y[task][real]
        context = torch.zeros(3, requires_grad=True)
        out = lambda x, context: module(torch.cat([x, context.expand(len(x), -1)], 1))[:, 0]
        for _ in range(2):
            slope = torch.autograd.grad(F.mse_loss(out(x, context), y), context, create_graph=True)[0]
            context = context - 0.5 * slope
        total = total + F.mse_loss(out(batch.query.x[task], context), batch.query.y[task])
    expected = torch.autograd.grad(total, list(module.parameters()))
    found = torch.autograd.grad(learner(batch).sum(), list(module.parameters()))
    assert_close(list(found), list(expected))


@pytest.mark.unchecked  # thousands of small calls
@pytest.mark.parametrize("place", ["layers.0", "normalizations.0"])
def test_gradients_equal_finite_differences(place: str) -> None:
    learner, batch = CAVIA(MLP(2, (3,), "support"), Gaussian(), 2, place, 2, 0.3), regression()
    names, values = zip(*learner.named_parameters(), strict=True)

    def loss(*parameters: Tensor) -> Tensor:
        return functional_call(learner, dict(zip(names, parameters, strict=True)), (batch,)).mean()

    assert torch.autograd.gradcheck(loss, tuple(v.detach().clone().requires_grad_() for v in values), atol=1e-6)


@pytest.mark.parametrize("place", ["convolutions.2", "normalizations.1"])
def test_channels_of_images_are_modulated(place: str) -> None:
    """By hand: the same scale and shift for every pixel of a channel."""
    learner = CAVIA(Conv4(1, 16, 4, "none"), Categorical(3), 2, place, 2, 0.3)
    part, seen = dict(learner.network.named_modules())[place], []
    handle = part.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
    x, mask = torch.rand(1, 3, 1, 16, 16), torch.ones(1, 3, dtype=torch.bool)
    context = torch.randn(2)
    for value in (torch.zeros(2), context):
        functional_call(learner.predictor, {"network.context": value}, (x, mask))
    handle.remove()
    before, after = (found[0] if isinstance(found, tuple) else found for found in seen)
    zero, given = (learner.predictor.network.modulation(value).chunk(2) for value in (torch.zeros(2), context))
    axes = (1, 4, 1, 1) if before.ndim == 4 else (1, 1, 4, 1, 1)
    plain = (before - zero[1].reshape(axes)) / (1 + zero[0].reshape(axes))
    assert_close(after, plain * (1 + given[0].reshape(axes)) + given[1].reshape(axes))


def test_phi_is_the_context_alone(tmp_path: object) -> None:
    learner, batch = CAVIA(MLP(5, (6,)), Gaussian(), 3).eval(), regression()
    phi = learner.adapt(batch.support)
    assert {name: weight.shape for name, weight in phi["weights"].items()} == {"network.context": (3, 3)}
    assert not learner.self_contained
    assert "predictor.network.context" not in learner.state_dict()
    qs.save(learner, f"{tmp_path}/l")
    back = qs.load(f"{tmp_path}/l")
    assert_close(back.outputs(back.adapt(batch.support), batch.query.x), learner.outputs(phi, batch.query.x))
    assert back.network.input_shape == (5,)


def test_contexts_of_tasks_are_their_own() -> None:
    learner = appended(1)
    support = Examples.of(torch.randn(2, 4, 2), torch.randn(2, 4))
    together = learner.adapt(support)["weights"]["network.context"]
    alone = [learner.adapt(support[task])["weights"]["network.context"] for task in range(2)]
    assert_close(together, torch.cat(alone))
    assert not torch.allclose(together[0], together[1])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="contexts must be at least 1, got 0"):
        CAVIA(MLP(5), Gaussian(), 0)
    with pytest.raises(ValueError, match="place is 'layers.7', which the network has not; it has layers, layers.0"):
        CAVIA(MLP(5), Gaussian(), 3, "layers.7")
    with pytest.raises(ValueError, match="place is 'layers', a ModuleList, whose channels are not known"):
        CAVIA(MLP(5), Gaussian(), 3, "layers")
    with pytest.raises(
        ValueError, match=r"5 contexts are appended to the input, but the network takes .* \[1, 28, 28\]"
    ):
        CAVIA(Conv4(), Categorical(5))
    batch = TaskBatch(*(Examples.of(torch.randn(1, 2, 4), torch.randn(1, 2)) for _ in range(2)))
    with pytest.raises(ValueError, match=r"MLP takes 5"):
        CAVIA(MLP(5), Gaussian(), 3)(batch)
