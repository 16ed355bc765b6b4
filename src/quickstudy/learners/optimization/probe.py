"""By what means a network can be differentiated twice, found out by doing it.

An inner loop needs the derivative of a derivative, for many tasks at once. Not every module has it: fused attention has
no second derivative, recurrent layers no vectorised form, and some layers have a vectorised second derivative that is
wrong without a word (`nn.LayerNorm` in torch 2.13). So what is vectorised is compared with a loop.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from quickstudy.learners.over_tasks import over_tasks
from quickstudy.learners.weights import Weights
from quickstudy.networks import Network
from quickstudy.tasks.batch import Tree, whole_mask

__all__ = ["Means", "looked_into", "plain_attention"]

_TASKS, _EXAMPLES = 2, 4
# Relative difference between vectorised and looped derivatives that rounding may make. In float32 it may be large: a
# ReLU or a pooling that turns the other way changes the derivatives behind it.
_ROOM = {torch.float64: 1e-4, torch.float32: 0.3}


@dataclass(frozen=True)
class Means:
    """What it takes to differentiate a network twice.

    Attributes:
        looped: tasks one after another, since the vectorised derivative is missing or wrong.
        plain_attention: without the fused kernels of attention.
    """

    looped: bool
    plain_attention: bool


def plain_attention() -> AbstractContextManager[Any]:
    """Attention by its formula, which has all derivatives."""
    return sdpa_kernel(SDPBackend.MATH)


def looked_into(predictor: Network, x: Tree, adapting: list[str]) -> Means:
    """Differentiate a network twice, on noise of the form of `x`, and see what it takes.

    Args:
        predictor: from inputs to raw outputs.
        x: inputs `[task, n, ...]`, of which the form counts.
        adapting: the names of the weights that the inner loop moves.

    Raises:
        ValueError: the network changes its state or its input when it is called, its outputs do not depend on these
            weights, or it has no second derivative; in that case the module is named that has none.
    """
    if predictor.adaptable:
        return Means(looped=False, plain_attention=False)
    weight = next(predictor.parameters())
    devices = [weight.device] if weight.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        x = tree_map(lambda leaf: _noise(leaf, weight), x)
        _check_stateless(predictor, x)
        predictor, x = _precise(predictor, x)
        # Dropout is left out: it would make two derivatives differ that are the same.
        predictor.eval()
        state = _state(predictor)
        weights = {name: state[name].detach() for name in adapting}
        _check_connected(predictor, weights, x)
        return _means(predictor, weights, x)


def _noise(leaf: Tensor, like: Tensor) -> Tensor:
    shape = (_TASKS, _EXAMPLES, *leaf.shape[2:])
    if leaf.is_floating_point():
        return torch.randn(shape, dtype=leaf.dtype, device=like.device)
    return torch.zeros(shape, dtype=leaf.dtype, device=like.device)


def _precise(predictor: Network, x: Tree) -> tuple[Network, Tree]:
    """A copy in float64, where equal derivatives are equal; as it is where the network insists on its precision."""
    twin = copy.deepcopy(predictor).double()
    wide = tree_map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, x)
    try:
        with torch.no_grad():
            twin(wide, whole_mask("x", wide))
    except Exception:  # whatever a module of the user's own says to another precision
        return copy.deepcopy(predictor), x
    return twin, wide


def _state(predictor: nn.Module) -> Weights:
    """Parameters and buffers by name."""
    return {**dict(predictor.named_parameters()), **dict(predictor.named_buffers())}


def _check_stateless(predictor: Network, x: Tree) -> None:
    """Refuse a network that is another one, or leaves another input, after it has been called."""
    state = _state(predictor)
    before, given = ({name: value.detach().clone() for name, value in state.items()}, tree_map(torch.clone, x))
    with torch.no_grad():
        predictor(x, whole_mask("x", x))
        # Back to what it was, whatever comes of it.
        changed = [name for name, value in state.items() if not torch.equal(value, before[name])]
        for name in changed:
            state[name].copy_(before[name])
    after = _state(predictor)
    changed += [name for name in after if after[name] is not state.get(name)]
    if changed:
        raise ValueError(
            f"network changes its state when it is called ({', '.join(dict.fromkeys(changed))}), so that one task "
            "would change another; an inner loop needs a network that is a function of its weights and its input"
        )
    if not all(torch.equal(a, b) for a, b in zip(tree_leaves(x), tree_leaves(given), strict=True)):
        raise ValueError(
            "network changes its input in place, which the inner loop reads again in the next step; use the operation "
            "that returns a new tensor, such as x + 1 for x.add_(1)"
        )


def _score(predictor: Network, weights: Weights, x: Tree) -> Tensor:
    """A number that depends on all outputs for one task's inputs."""
    inputs = tree_map(lambda leaf: leaf[None], x)
    return functional_call(predictor, weights, (inputs, whole_mask("x", inputs)))[0].square().sum()


def _check_connected(predictor: Network, weights: Weights, x: Tree) -> None:
    """Refuse weights that nothing depends on."""
    given = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    with torch.enable_grad():
        score = _score(predictor, given, tree_map(lambda leaf: leaf[0], x))
        slopes = torch.autograd.grad(score, list(given.values()), allow_unused=True) if score.requires_grad else [None]
    if all(slope is None for slope in slopes):
        raise ValueError(
            "the network's outputs do not depend, in a way that can be differentiated, on the weights that adapt: "
            f"{', '.join(weights)}; choose others (adapting=…), and look for detach, no_grad and data in its forward"
        )


def _means(predictor: Network, weights: Weights, x: Tree) -> Means:
    """By what means both derivatives can be had."""
    failure: Exception | None = None
    for plain in (False, True):
        with plain_attention() if plain else nullcontext():
            try:
                looped = _derivatives(predictor, weights, x, 1)
            except Exception as error:  # the network itself has just been run
                failure = failure or error
                continue
            try:
                vectorised = _derivatives(predictor, weights, x, None)
            except Exception:
                return Means(True, plain)
            same = all(_close(a, b) for a, b in zip(looped, vectorised, strict=True))
            return Means(not same, plain)
    culprit = _culprit(predictor, x)
    raise ValueError(
        f"network cannot be differentiated twice, which an inner loop needs: {culprit} fails ({_first_line(failure)}); "
        "replace it, or leave its derivative out with a learner that takes none through it"
    )


def _derivatives(predictor: Network, weights: Weights, x: Tree, tasks_at_once: int | None) -> list[list[Tensor]]:
    """The outputs of every task, their gradient, and the gradient of its length, the way an inner loop takes them."""

    def slopes(x: Tree, weights: Weights) -> Weights:
        return grad(lambda weights: _score(predictor, weights, x))(weights)

    # Weights that differ by task: what is vectorised over inputs alone may be right, and wrong over weights.
    own = {name: torch.stack([(1 + task) * weight for task in range(_TASKS)]) for name, weight in weights.items()}
    with torch.no_grad():
        scores = over_tasks(lambda x, weights: _score(predictor, weights, x), tasks_at_once, x, own)
    with torch.enable_grad():
        free = {name: weight.requires_grad_() for name, weight in own.items()}
        first = list(over_tasks(slopes, tasks_at_once, x, free).values())
        length = torch.stack([slope.square().sum() for slope in first]).sum()
        # The weights that all tasks share are learned through the same second derivatives.
        others = [weight for name, weight in predictor.named_parameters() if weight.requires_grad and name not in own]
        second = torch.autograd.grad(length, [*free.values(), *others], materialize_grads=True)
    return [[scores], [slope.detach() for slope in first], list(second)]


def _close(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two gradients are the same up to rounding."""
    ours, theirs = (torch.cat([part.flatten() for part in parts]) for parts in (a, b))
    size = ours.norm()
    return not bool(size.isfinite()) or bool((ours - theirs).norm() <= _ROOM.get(ours.dtype, 1.0) * (size + 1e-6))


def _culprit(predictor: nn.Module, x: Tree) -> str:
    """The first innermost module that has no second derivative by itself."""
    calls: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
            calls.setdefault(name, (module, args, kwargs))

        return hook

    hooks = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in predictor.named_modules()
        if not any(True for _ in module.children()) or isinstance(module, nn.MultiheadAttention)
    ]
    try:
        with torch.no_grad():
            predictor(x, whole_mask("x", x))
    finally:
        for hook in hooks:
            hook.remove()
    for name, (module, args, kwargs) in calls.items():
        if not _twice(module, args, kwargs):
            return f"{name} ({type(module).__name__})"
    return f"an operation in the forward of {type(getattr(predictor, 'network', predictor)).__name__}"


def _twice(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a module has a second derivative at these inputs."""

    def free(leaf: Any) -> Any:
        real = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.detach().clone().requires_grad_() if real else leaf

    args, kwargs = tree_map(free, (args, kwargs))
    wanted = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.requires_grad]
    wanted += [weight for weight in module.parameters() if weight.requires_grad]
    try:
        with torch.enable_grad():
            found = [leaf for leaf in tree_leaves(module(*args, **kwargs)) if isinstance(leaf, Tensor)]
            score = torch.stack([leaf.square().sum() for leaf in found if leaf.requires_grad]).sum()
            slopes = [
                slope
                for slope in torch.autograd.grad(score, wanted, create_graph=True, allow_unused=True)
                if slope is not None and slope.requires_grad
            ]
            if slopes:
                # All the way back, so that what only pretends to have a derivative must show it.
                torch.stack([slope.square().sum() for slope in slopes]).sum().backward()
    except Exception:
        return False
    return True


def _first_line(error: Exception | None) -> str:
    return str(error).strip().splitlines()[0] if error is not None and str(error).strip() else "no reason given"
