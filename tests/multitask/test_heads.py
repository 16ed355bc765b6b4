"""`Parallel` beside `torch.nn.Linear`, a layer at a time: inputs of their own, one for all, and views of one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from quickstudy.multitask.heads import Parallel

X = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layers(outputs: int) -> Parallel:
    torch.manual_seed(1)
    return Parallel(5, 3, outputs).double()


def one_by_one(parallel: Parallel, x: Tensor, chosen: list[int]) -> Tensor:
    return torch.stack(
        [F.linear(one, parallel.weight[c].T, parallel.bias[c]) for one, c in zip(x, chosen, strict=True)]
    )


def inputs(kind: str, count: int) -> tuple[Tensor, Tensor]:
    """What the layers get, and the leaf that it comes from."""
    leaf = (X[:count] if kind == "own" else X[:1]).clone().requires_grad_()
    return (leaf.expand(count, 7, 3) if kind == "views" else leaf), leaf


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("chosen", [None, [3, 0]])
@pytest.mark.parametrize("kind", ["own", "one", "views"])
def test_each_layer_is_a_linear_layer(outputs: int, chosen: list[int] | None, kind: str) -> None:
    parallel, numbers = layers(outputs), chosen or list(range(5))
    x, leaf = inputs(kind, len(numbers))
    found, weights = parallel(x, chosen), torch.randn(len(numbers), 7, outputs, dtype=torch.float64)
    other, other_leaf = inputs(kind, len(numbers))
    expected = one_by_one(parallel, other.expand(len(numbers), 7, 3), numbers)
    assert_close(found, expected)
    mine = torch.autograd.grad((found.sin() * weights).sum(), [leaf, *parallel.parameters()])
    theirs = torch.autograd.grad((expected.sin() * weights).sum(), [other_leaf, *parallel.parameters()])
    for gradient, right in zip(mine, theirs, strict=True):
        assert_close(gradient, right)


@pytest.mark.parametrize("outputs", [1, 4])
def test_views_of_one_input_have_gradients_of_their_own(outputs: int) -> None:
    """To second order as well."""
    parallel, (views, leaf) = layers(outputs), inputs("views", 5)
    (found,) = torch.autograd.grad(parallel(views).sin().sum(), views, create_graph=True)
    copies = views.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(
        one_by_one(parallel, copies, list(range(5))).sin().sum(), copies, create_graph=True
    )
    assert_close(found, expected)
    second = torch.autograd.grad(found.square().sum(), [leaf, *parallel.parameters()])
    right = torch.autograd.grad(expected.square().sum(), [copies, *parallel.parameters()])
    assert_close(second[0], right[0].sum(0, keepdim=True))
    for gradient, other in zip(second[1:], right[1:], strict=True):
        assert_close(gradient, other)


@pytest.mark.parametrize("kind", ["one", "views"])
def test_under_autocast_gradients_keep_the_precision_of_their_leaves(kind: str) -> None:
    parallel = layers(2).float()
    x, leaf = inputs(kind, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = parallel(x.float())
    assert found.dtype == torch.bfloat16
    expected = one_by_one(parallel, X[:1].float().expand(5, 7, 3), list(range(5)))
    assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)
    gradients = torch.autograd.grad(found.float().square().sum(), [leaf, *parallel.parameters()])
    right = torch.autograd.grad(expected.square().sum(), list(parallel.parameters()))
    assert [gradient.dtype for gradient in gradients] == [torch.float64, torch.float32, torch.float32]
    for gradient, other in zip(gradients[1:], right, strict=True):
        assert_close(gradient, other, rtol=5e-2, atol=2e-1)


@pytest.mark.parametrize("kind", ["one", "views"])
def test_inside_of_transformations(kind: str) -> None:
    """As the one-run affinity of tasks calls it: mapped over weights, with gradients by `torch.func`."""
    parallel, (x, _) = layers(1), inputs(kind, 5)

    def loss(weight: Tensor) -> Tensor:
        return torch.func.functional_call(parallel, {"weight": weight}, (x.detach(),)).sin().sum()

    weights = torch.stack([parallel.weight.detach(), 2 * parallel.weight.detach()])
    mapped = torch.vmap(torch.func.grad(loss))(weights)
    for gradient, weight in zip(mapped, weights, strict=True):
        leaf = weight.clone().requires_grad_()
        assert_close(gradient, torch.autograd.grad(loss(leaf), leaf)[0])


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("kind", ["one", "views"])
def test_one_batched_pass_backward(outputs: int, kind: str) -> None:
    parallel, (x, leaf) = layers(outputs), inputs(kind, 5)
    sums = parallel(x).sin().sum((1, 2))
    leaves = [leaf, *parallel.parameters()]
    batched = torch.autograd.grad(sums, leaves, torch.eye(5).double(), retain_graph=True, is_grads_batched=True)
    for number, one in enumerate(sums):
        for rows, right in zip(batched, torch.autograd.grad(one, leaves, retain_graph=True), strict=True):
            assert_close(rows[number], right)
