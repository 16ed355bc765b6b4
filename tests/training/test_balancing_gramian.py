"""`Balanced(..., gramian_only=True)`: the update of the whole Jacobian, without ever holding it."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torchjd import aggregation as A
from torchjd.autogram import Engine

from quickstudy.evaluation import peak_memory
from quickstudy.multitask import CrossStitch, MultiGateMixture, SharedBottom, TaskAttention, named_tasks, shared_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian
from quickstudy.training import Balanced, GradNorm, make_fabric

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(60, 3, generator=GENERATOR)
Y = {name: (X @ torch.randn(3, generator=GENERATOR)).numpy() for name in ("a", "b", "c")}


def double(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, tree)


BATCH = double(shared_tasks(X.numpy(), Y).train.draw(0, 16, 0))
APART = double(named_tasks({name: ((X + place).numpy(), Y[name]) for place, name in enumerate(Y)}).train.draw(0, 8, 0))
SOLVERS = find_spec("quadprog") and find_spec("qpsolvers") and find_spec("cvxpy") and find_spec("ecos")
solved = partial(pytest.param, marks=pytest.mark.skipif(not SOLVERS, reason="needs the extra torchjd[full]"))
METHODS: dict[str, Callable[[], nn.Module]] = {
    "MGDA": A.MGDA,
    "PCGrad": A.PCGrad,
    "GradVac": A.GradVac,
    "IMTLG": A.IMTLG,
    "AlignedMTL": A.AlignedMTL,
    "Constant": lambda: A.Constant(torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)),
    "Random": A.Random,
    "GradNorm": GradNorm,
    "UPGrad": A.UPGrad,
    "CAGrad": lambda: A.CAGrad(0.5),
    "NashMTL": lambda: A.NashMTL(3),
}
NAMES = [solved(name) if name in ("UPGrad", "CAGrad", "NashMTL") else name for name in METHODS]
NETWORK: Callable[[], nn.Module] = partial(MLP, 3, (8, 6))
MODULES: dict[str, Callable[[], Any]] = {
    "shared bottom": lambda: SharedBottom(NETWORK(), dict.fromkeys(Y, Gaussian())),
    "layer normalization": lambda: SharedBottom(MLP(3, (8, 6), normalization="layer"), dict.fromkeys(Y, Gaussian())),
    "running normalization": lambda: SharedBottom(
        MLP(3, (8, 6), normalization="running"), dict.fromkeys(Y, Gaussian())
    ),
    "gates": lambda: MultiGateMixture(NETWORK(), dict.fromkeys(Y, Gaussian()), 3, (8,)),
    "cross-stitch": lambda: CrossStitch(NETWORK(), dict.fromkeys(Y, Gaussian()), (8, 4)),
    "attention": lambda: TaskAttention(NETWORK(), dict.fromkeys(Y, Gaussian()), (8,)),
}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric("cpu")


def made(name: str = "shared bottom") -> Any:
    torch.manual_seed(0)
    return MODULES[name]().double()


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def stepped(backward: Balanced, batches: list[Any], fabric: Fabric) -> list[Tensor]:
    """What a few steps give, each as from the first weights: the weights of tasks, and the gradients."""
    found = []
    for batch in batches:
        torch.manual_seed(7)
        backward.module.zero_grad()
        backward(backward.module(batch), fabric)
        assert backward.weights is not None
        found += [backward.weights, *gradients(backward.module)]
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"every": 2}])
def test_the_update_is_that_of_the_whole_jacobian(name: str, options: dict[str, Any], fabric: Fabric) -> None:
    """Three steps, in the second of which a task is absent; weights and gradients to rounding."""
    masked = double(shared_tasks(X.numpy(), Y).train.draw(1, 16, 0))
    masked.mask["b"], masked.count["b"] = torch.zeros_like(masked.mask["b"]), torch.zeros(1)
    batches = [BATCH, masked, double(shared_tasks(X.numpy(), Y).train.draw(2, 16, 0))]
    whole = Balanced(METHODS[name]().double(), made(), **options)
    alone = Balanced(METHODS[name]().double(), made(), gramian_only=True, **options)
    for mine, other in zip(stepped(alone, batches, fabric), stepped(whole, batches, fabric), strict=True):
        # What the solver of Nash-MTL starts from is as exact as its own tolerance.
        assert_close(mine, other, rtol=1e-6 if name == "NashMTL" else 1e-9, atol=1e-8 if name == "NashMTL" else 1e-11)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("batch", [BATCH, APART], ids=["same inputs", "inputs of their own"])
def test_whatever_the_architecture(name: str, batch: Any, fabric: Fabric) -> None:
    whole, alone = Balanced(A.IMTLG(), made(name)), Balanced(A.IMTLG(), made(name), gramian_only=True)
    held = [parameter for layer in alone.layers or [] for parameter in layer]
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in alone.shared}
    assert len(held) == len(alone.shared)
    for mine, other in zip(stepped(alone, [batch], fabric), stepped(whole, [batch], fabric), strict=True):
        assert_close(mine, other, rtol=1e-9, atol=1e-11)


def test_the_gramian_is_that_of_torchjd(fabric: Fabric) -> None:
    """Of its engine, which goes through all layers in one pass."""
    seen = []

    class Sees(A.IMTLG):
        def __init__(self) -> None:
            super().__init__()
            self.gramian_weighting.register_forward_hook(lambda _, given, __: seen.append(given[0]))

    module = made("gates")
    Balanced(Sees(), module, gramian_only=True)(module(BATCH), fabric)
    module = made("gates")
    engine = Engine(module.network, module.mixture, batch_dim=None)
    assert_close(seen[0], engine.compute_gramian(torch.stack(list(module(BATCH).values()))), rtol=1e-9, atol=1e-12)


class Largest(TorchDispatchMode):
    """The most numbers in one tensor that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.numbers = max(self.numbers, leaf.untyped_storage().nbytes() // leaf.element_size())
        return made


@pytest.mark.unchecked
def test_the_jacobian_is_never_held(fabric: Fabric) -> None:
    """Six equal layers: the largest tensor is that of one, and so is what is held at the peak beyond a plain sum."""
    tasks = {f"task{number}": X[:, 0].numpy() for number in range(8)}
    batch = shared_tasks(X.numpy(), tasks).train.draw(0, 4, 0)
    largest, peaks = {}, {}
    for alone in (False, True):
        torch.manual_seed(0)
        module = SharedBottom(MLP(3, (64,) * 7), dict.fromkeys(tasks, Gaussian()))
        backward = Balanced(A.MGDA(), module, gramian_only=alone)
        shared = sum(parameter.numel() for parameter in backward.shared)
        with Largest() as mode:
            backward(module(batch), fabric)
        largest[alone] = mode.numbers
        module.zero_grad()
        peaks[alone] = peak_memory(lambda: backward(module(batch), fabric))  # noqa: B023
    layer = 64 * 64 + 64
    assert largest[False] == 8 * shared
    assert largest[True] == 8 * layer < 8 * shared / 6
    # What is left are a layer's gradients of all tasks, and one gradient of everything.
    assert peaks[True] < 4 * (8 * layer + 3 * shared)
    assert peaks[False] > 4 * 8 * shared
