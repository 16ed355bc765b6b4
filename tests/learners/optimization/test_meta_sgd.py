import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from quickstudy.learners import MAML, MetaSGD
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian

from .test_maml import double, regression, tanh_network

__all__ = ["double"]


@pytest.mark.parametrize("per_step", [False, True])
def test_equal_rates_are_maml(per_step: bool) -> None:
    ours, theirs = MetaSGD(tanh_network(), Gaussian(), 3, 0.1, per_step), MAML(tanh_network(), Gaussian(), 3, 0.1)
    theirs.predictor.load_state_dict(ours.predictor.state_dict())
    batch = regression()
    losses = ours(batch), theirs(batch)
    assert_close(*losses)
    for a, b in zip(
        *(
            torch.autograd.grad(loss.sum(), list(learner.predictor.parameters()), retain_graph=True)
            for loss, learner in zip(losses, (ours, theirs), strict=True)
        ),
        strict=True,
    ):
        assert_close(a, b)


@pytest.mark.unchecked  # thousands of small calls
@pytest.mark.parametrize("per_step", [False, True])
def test_gradients_of_weights_and_rates_equal_finite_differences(per_step: bool) -> None:
    learner, batch = MetaSGD(tanh_network(), Gaussian(), 2, 0.1, per_step), regression()
    names, values = zip(*learner.named_parameters(), strict=True)

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        return functional_call(learner, dict(zip(names, parameters, strict=True)), (batch,)).mean()

    assert torch.autograd.gradcheck(loss, tuple(v.detach().clone().requires_grad_() for v in values))


def test_a_weight_without_a_rate_stays() -> None:
    learner, batch = MetaSGD(MLP(2, (4,)), Gaussian(), 1, 0.1), regression()
    with torch.no_grad():
        learner.rates[0].zero_()
    phi = learner.adapt(batch.support)["weights"]
    name, weight = next(iter(learner.predictor.named_parameters()))
    assert_close(phi[name], weight.expand_as(phi[name]))
    assert not torch.allclose(phi["head.weight"], learner.predictor.head.weight)


def test_further_steps_take_the_rates_of_the_last() -> None:
    learner, batch = MetaSGD(MLP(2, (4,)), Gaussian(), 2, 0.1, per_step=True, evaluation_steps=4).eval(), regression()
    with torch.no_grad():
        for rates in learner.rates:
            rates[1] = 0
    one = MetaSGD(MLP(2, (4,)), Gaussian(), 1, 0.1).eval()
    one.predictor.load_state_dict(learner.predictor.state_dict())
    assert_close(learner.adapt(batch.support), one.adapt(batch.support))
