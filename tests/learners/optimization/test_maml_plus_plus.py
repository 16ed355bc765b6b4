import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import MAML, FirstOrder, Implicit, MAMLPlusPlus
from quickstudy.networks import MLP, Normalization
from quickstudy.tasks import Gaussian, TaskBatch

from .test_maml import double, gradients, regression, tanh_network

__all__ = ["double"]


def both(**options: int) -> tuple[MAMLPlusPlus, MAML]:
    ours = MAMLPlusPlus(MLP(2, (6,), "support"), Gaussian(), 3, 0.1, **options)
    theirs = MAML(MLP(2, (6,), "support"), Gaussian(), 3, 0.1, adapting=r"^(?!.*normalizations)")
    theirs.predictor.load_state_dict(ours.predictor.state_dict())
    return ours, theirs


def shares(learner: MAMLPlusPlus, batch: TaskBatch, weights: list[float]) -> Tensor:
    """The loss by its definition: of each number of inner steps, weighted."""
    total = 0.0
    for steps, weight in enumerate(weights, 1):
        learner.evaluation_steps = steps
        total = total + weight * learner.eval()(batch)
    learner.evaluation_steps = None
    learner.train()
    return total


def test_with_equal_rates_and_tables_it_is_maml() -> None:
    ours, theirs = both(multi_step_losses=0)
    batch = regression()
    assert_close(ours(batch), theirs(batch))
    for name in ours._adapted:
        of_ours, of_theirs = (
            torch.autograd.grad(learner(batch).sum(), learner.predictor.get_parameter(name))[0]
            for learner in (ours, theirs)
        )
        assert_close(of_ours, of_theirs)
    # A scale that all steps share is moved by the sum of what moves those of the steps.
    place = ours._tabled.index("network.normalizations.0.scale")
    of_steps = torch.autograd.grad(ours(batch).sum(), ours.tables[place])[0]
    whole = torch.autograd.grad(theirs(batch).sum(), theirs.predictor.get_parameter("network.normalizations.0.scale"))
    assert_close(of_steps.sum(0), whole[0])
    assert (of_steps.abs().sum(1) > 0).all()


def test_losses_of_all_steps_move_to_the_last() -> None:
    learner, batch = both(multi_step_losses=4)[0], regression()
    expected = [shares(learner, batch, weights) for weights in ([1 / 3] * 3, [1 / 4, 1 / 4, 1 / 2], [0, 0, 1])]
    assert_close(learner(batch), expected[0])
    assert learner.seen == 1
    assert_close(learner(batch), expected[1])
    learner.seen.fill_(4)
    assert_close(learner(batch), expected[2])
    with torch.no_grad():
        learner(batch)
    learner.eval()(batch)
    assert learner.seen == 5


@pytest.mark.unchecked  # thousands of small calls
def test_gradients_equal_finite_differences() -> None:
    learner, batch = MAMLPlusPlus(tanh_network(), Gaussian(), 2, 0.1, multi_step_losses=10), regression()
    names, values = zip(*learner.named_parameters(), strict=True)

    def loss(*parameters: Tensor) -> Tensor:
        learner.seen.fill_(3)
        return functional_call(learner, dict(zip(names, parameters, strict=True)), (batch,)).mean()

    assert torch.autograd.gradcheck(loss, tuple(v.detach().clone().requires_grad_() for v in values), atol=1e-6)


def test_first_order_comes_first() -> None:
    learner, batch = MAMLPlusPlus(tanh_network(), Gaussian(), 3, 0.1, 0, first_order_steps=2), regression()
    first, second, third = (gradients(learner, batch) for _ in range(3))
    assert_close(first, second)
    exact = MAMLPlusPlus(tanh_network(), Gaussian(), 3, 0.1, 0)
    exact.predictor.load_state_dict(learner.predictor.state_dict())
    assert_close(third, gradients(exact, batch))
    plain = MAMLPlusPlus(tanh_network(), Gaussian(), 3, 0.1, 0, meta_gradient=FirstOrder())
    plain.predictor.load_state_dict(learner.predictor.state_dict())
    assert_close(first, gradients(plain, batch))
    assert not torch.allclose(first[0], third[0])


def test_every_step_has_its_own_rate_and_the_last_serves_further_ones() -> None:
    learner, batch = both(multi_step_losses=0)[0].eval(), regression()
    learner.evaluation_steps = 5
    with torch.no_grad():
        for rates in learner.rates:
            rates[1:] = 0
    phi = learner.adapt(batch.support)["weights"]
    learner.evaluation_steps = 1
    one = learner.adapt(batch.support)["weights"]
    assert_close(phi["head.weight"], one["head.weight"])


def test_phi_holds_the_scales_of_its_last_step() -> None:
    learner, batch = both(multi_step_losses=0)[0].eval(), regression()
    assert learner.self_contained
    with torch.no_grad():
        for table in learner.tables:
            table += torch.arange(4.0)[:, None]
    weights = learner.adapt(batch.support)["weights"]
    assert_close(weights["network.normalizations.0.scale"], torch.full((3, 6), 4.0))
    assert_close(weights["network.normalizations.0.shift"], torch.full((3, 6), 3.0))
    assert not any(part.scale.requires_grad for part in learner.modules() if isinstance(part, Normalization))


def test_what_has_been_seen_is_kept(tmp_path: object) -> None:
    learner, batch = both(multi_step_losses=4)[0], regression()
    learner(batch)
    qs.save(learner, f"{tmp_path}/l")
    back = qs.load(f"{tmp_path}/l").train()
    assert back.seen == 1
    assert_close(back(batch), learner(batch))


@pytest.mark.unchecked
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_it_counts_and_weighs_losses_as_ever(backend: str) -> None:
    torch._dynamo.reset()
    learner, batch = MAMLPlusPlus(MLP(2, (6,), "support"), Gaussian(), 2, 0.1, multi_step_losses=3), regression()
    compiled = torch.compile(learner, fullgraph=True, dynamic=False, backend=backend)
    learned = [weight for weight in learner.parameters() if weight.requires_grad]
    for step in range(5):
        learner.seen.fill_(step)
        expected = torch.autograd.grad(learner(batch).mean(), learned)
        learner.seen.fill_(step)
        assert_close(torch.autograd.grad(compiled(batch).mean(), learned), expected)
        assert learner.seen == step + 1


@pytest.mark.unchecked
def test_first_order_before_second_is_not_compiled() -> None:
    torch._dynamo.reset()
    learner = MAMLPlusPlus(MLP(2, (6,), "support"), Gaussian(), 2, 0.1, 0, first_order_steps=3)
    compiled = torch.compile(learner, fullgraph=True, dynamic=False, backend="aot_eager")
    with pytest.raises(Exception, match="cannot be compiled as one: set first_order_steps=0, got 3"):
        compiled(regression())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="multi_step_losses and first_order_steps .* got -1 and 0"):
        MAMLPlusPlus(MLP(2), Gaussian(), multi_step_losses=-1)
    with pytest.raises(ValueError, match="meta_gradient is Implicit, which knows the last inner step only"):
        MAMLPlusPlus(MLP(2), Gaussian(), meta_gradient=Implicit())
    with pytest.raises(ValueError, match="scales and shifts of normalization alone"):
        MAMLPlusPlus(MLP(2, (4,), "support"), Gaussian(), adapting="normalizations")
    MAMLPlusPlus(MLP(2), Gaussian(), multi_step_losses=0, meta_gradient=Implicit())
