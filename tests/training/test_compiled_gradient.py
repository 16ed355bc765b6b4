"""Losses and their gradient in one compiled graph, against the module's own; without the code generator, for speed."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import ANIL, MAML, FirstOrder, ImplicitMAML, MAMLPlusPlus
from quickstudy.multitask import SharedBottom, shared_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, sinusoids
from quickstudy.training import CompiledGradient

pytestmark = pytest.mark.unchecked  # checks of shapes are not traced

BATCH = sinusoids((3, 5), 6).train.sample(0, 4, 0)


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch.compiler.reset()  # what other tests compiled counts against the limit


def compiled(module: nn.Module) -> CompiledGradient:
    return CompiledGradient(module, "aot_eager")


def gradients(module: nn.Module, loss: Tensor) -> list[Tensor]:
    module.zero_grad()
    loss.backward()
    return [leaf.grad.clone() for leaf in module.parameters() if leaf.grad is not None]


@pytest.mark.parametrize(
    "learner",
    [
        lambda: MAML(MLP(1, (8,)), Gaussian(), 2),
        lambda: MAML(MLP(1, (8,)), Gaussian(), 2, tasks_at_once=3),
        lambda: MAML(MLP(1, (8,)), Gaussian(), 2, meta_gradient=FirstOrder()),
        lambda: ANIL(MLP(1, (8,)), Gaussian(), 2),
    ],
    ids=["MAML", "three tasks and one", "first order", "ANIL"],
)
def test_losses_and_gradients_are_those_of_the_learner(learner: type[MAML]) -> None:
    made = learner()
    one = compiled(made)
    for batch in (BATCH, sinusoids((3, 5), 6).train.sample(1, 4, 0)):
        expected = made(batch)
        found = one(batch)
        assert_close(found, expected)
        for scale in (lambda losses: losses.mean(), lambda losses: 3 * losses.sum()):
            mine, own = (gradients(made, scale(losses)) for losses in (one(batch), made(batch)))
            for a, b in zip(mine, own, strict=True):
                assert_close(a, b)


def test_losses_by_name_and_frozen_parameters() -> None:
    data = shared_tasks(torch.randn(20, 3).numpy(), {"a": torch.randn(20).numpy(), "b": torch.randn(20).numpy()})
    module = SharedBottom(MLP(3, (4,)), {"a": Gaussian(), "b": Gaussian()})
    module.network.layers[0].bias.requires_grad_(False)  # type: ignore[index]
    batch = data.train.sample(0, 8, 0)
    found, expected = compiled(module)(batch), module(batch)
    assert list(found) == list(expected)
    mine, own = (gradients(module, sum(losses.values())) for losses in (found, expected))  # type: ignore[arg-type]
    assert len(mine) == len(list(module.parameters())) - 1
    for a, b in zip(mine, own, strict=True):
        assert_close(a, b)


def test_losses_must_count_alike() -> None:
    losses = compiled(MAML(MLP(1, (8,)), Gaussian(), 1))(BATCH)
    with pytest.raises(RuntimeError, match=r"weighs them by \[0.0, 1.0, 2.0, 3.0\]"):
        (losses * torch.arange(4.0)).sum().backward()


def test_without_gradients_it_is_the_module() -> None:
    made = MAML(MLP(1, (8,)), Gaussian(), 1)
    one = compiled(made)
    with torch.no_grad():
        losses = one(BATCH)
    assert not losses.requires_grad
    assert_close(losses, made(BATCH))


def test_another_gradient_is_refused() -> None:
    """Implicit gradients are a derivative of their own, which tracing does not see."""
    with pytest.raises(RuntimeError, match="ImplicitMAML gives another one"):
        compiled(ImplicitMAML(MLP(1, (8,)), Gaussian(), 2))(BATCH)


def test_what_cannot_be_traced_is_refused() -> None:
    with pytest.raises(RuntimeError, match="MAMLPlusPlus cannot be compiled together with its gradient"):
        compiled(MAMLPlusPlus(MLP(1, (8,)), Gaussian(), 2))(BATCH)


def test_what_is_random_is_drawn_anew_and_not_compared() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.dropout(x * self.weight, 0.5).sum(-1)

    module = Noisy()
    one = compiled(module)
    first, second = (gradients(module, one(torch.ones(5, 3)).mean())[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_training_is_that_without() -> None:
    """Through the code generator."""
    plain, one = (MAML(MLP(1, (8,)), Gaussian(), 1) for _ in range(2))
    one.load_state_dict(plain.state_dict())
    for model, flag in ((plain, False), (one, "gradient")):
        qs.fit(model, sinusoids(5).train, steps=3, batch_size=4, clip=1.0, compile=flag, device="cpu")
    for a, b in zip(one.parameters(), plain.parameters(), strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_float16_is_refused() -> None:
    class Scaled:
        scaler = object()

    fabric = qs.training.make_fabric("cpu")
    fabric.strategy.precision = Scaled()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="float16 could scale the loss"):
        qs.fit(MAML(MLP(1, (8,)), Gaussian()), sinusoids(5).train, steps=1, compile="gradient", fabric=fabric)
    with pytest.raises(ValueError, match="compile must be False, True or 'gradient', got 'both'"):
        qs.fit(MAML(MLP(1, (8,)), Gaussian()), sinusoids(5).train, steps=1, compile="both")  # type: ignore[arg-type]
