"""Gradients of all tasks at the features their heads see, from one pass, against a pass for each of them."""

from collections.abc import Sequence

import pytest
import torch
from torch.testing import assert_close

from quickstudy.multitask import SharedBottom, named_tasks, shared_tasks
from quickstudy.multitask.representation import Representation
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian

TARGETS = ("a", "b", "c")


def kept(outputs: int, tower: Sequence[int], shared: bool) -> tuple[Representation, list[torch.Tensor]]:
    """What a module keeps of one batch, and the losses of its tasks."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 4), {name: torch.randn(30, outputs) for name in TARGETS}
    data = shared_tasks(x, y) if shared else named_tasks({name: (x + len(name), y[name]) for name in y})
    module = SharedBottom(MLP(4, (5, 7)), dict.fromkeys(TARGETS, Gaussian(outputs)), tower=tower)
    module.keeps_representation = True
    losses = module(data.train.sample(0, 8, 0))
    assert isinstance(module.representation, Representation)
    return module.representation, list(losses.values())


# One output is a narrow head, twelve are more than its features: inner products are then those of whole gradients.
@pytest.mark.parametrize("outputs", [1, 2, 12])
@pytest.mark.parametrize("tower", [(), (6,)])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_are_those_of_a_pass_for_each_task(outputs: int, tower: tuple[int, ...], shared: bool) -> None:
    representation, losses = kept(outputs, tower, shared)
    expected = torch.stack(
        [torch.autograd.grad(loss, representation.features, retain_graph=True)[0] for loss in losses]
    )
    (slopes,) = torch.autograd.grad(sum(losses), representation.probes, retain_graph=True)
    for task, gradient in enumerate(expected):
        assert_close(representation.of_task(slopes, task), gradient)
    rows = expected.flatten(1)
    assert_close(representation.gramian(slopes), rows @ rows.mT)
    weights = torch.tensor([0.3, -1.0, 2.0])
    assert_close(representation.weighted(slopes, weights), torch.einsum("t,t...->...", weights, expected))


def test_some_tasks_in_another_order_and_missing_targets() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(30, 4), {name: torch.randn(30) for name in TARGETS}
    y["a"][::3] = torch.nan
    module = SharedBottom(MLP(4, (5, 7)), dict.fromkeys(("a", "b", "c"), Gaussian()))
    module.keeps_representation = True
    data = shared_tasks(x, {name: y[name] for name in ("c", "a")})
    losses = list(module(data.train.sample(0, 8, 0)).values())
    representation = module.representation
    assert representation is not None
    expected = torch.stack(
        [torch.autograd.grad(loss, representation.features, retain_graph=True)[0] for loss in losses]
    )
    (slopes,) = torch.autograd.grad(sum(losses), representation.probes)
    rows = expected.flatten(1)
    assert_close(representation.gramian(slopes), rows @ rows.mT)
    for task, gradient in enumerate(expected):
        assert_close(representation.of_task(slopes, task), gradient)


def test_products_that_cancel_keep_their_digits() -> None:
    """Slopes of a softmax sum to zero, so that what all weights have in common does not count."""
    torch.manual_seed(0)
    slopes = torch.randn(3, 50, 5).softmax(-1) - 0.2
    weight = torch.randn(3, 128, 5) + 1e3 * torch.randn(3, 128, 1)
    representation = Representation(torch.randn(1, 50, 128), (0, 0, 0), slopes, weight)
    rows = (slopes.double() @ weight.double().mT).flatten(1)
    assert_close(representation.gramian(slopes).double(), rows @ rows.mT, rtol=1e-4, atol=1e-3)


def test_heads_that_somebody_changed_are_not_taken_for_linear() -> None:
    heads = SharedBottom(MLP(4, (5,)), {"a": Gaussian()}).heads
    assert heads.linear
    handle = heads.register_forward_hook(lambda module, given, outputs: outputs * 3)
    assert not heads.linear
    handle.remove()

    class Curved(type(heads)):  # type: ignore[misc]
        pass

    assert not Curved(2, 4, 1).linear


def test_linear_heads_ask_for_no_copies_of_the_features() -> None:
    representation, _ = kept(2, (), shared=True)
    assert representation.probes.shape == (3, 8, 2)
    representation, _ = kept(2, (6,), shared=True)
    assert representation.probes.shape == (3, 8, 7)
