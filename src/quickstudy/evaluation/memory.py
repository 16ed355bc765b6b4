"""How much memory a computation needs at its peak, counted rather than sampled.

What is counted are the bytes of tensors: every storage that an operation makes counts from then on until nothing refers
to it. So the count is the same in every run, on every device, and whatever else the process holds.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["peak_memory"]


def peak_memory(run: Callable[[], object]) -> int:
    """The most bytes of tensors that are alive at once while `run` runs, beyond those alive before.

    With `lambda: meta_gradient(learner, batch)` that is what a training step needs, forward and backward: the graph,
    what lives for a moment only, and the gradient itself; not the weights, the batch, or an optimizer's state.

    A storage that several tensors share counts once. What a kernel allocates for itself while it runs (workspaces,
    copies in another layout) is not seen, and neither is the rounding of an allocator. What has been compiled hides its
    tensors: measure before compiling. What is done once only, such as looking into a network, counts when it happens
    inside: run it before.

    Args:
        run: the computation; what it returns counts while it runs.
    """
    with _Storages() as storages:
        run()
    return storages.peak


class _Storages(TorchDispatchMode):
    """Sees every operation, those of a backward pass and below `torch.func` as well, and follows what it made."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0
        self._met: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # What is given before it has been made was there before; a view or an operation in place returns it again.
        for tensor in _tensors((args, kwargs)):
            self._meet(tensor, made=False)
        results = func(*args, **(kwargs or {}))
        for tensor in _tensors(results):
            self._meet(tensor, made=True)
        self.peak = max(self.peak, self.alive)
        return results

    def _meet(self, tensor: Tensor, made: bool) -> None:
        storage = tensor.untyped_storage()
        name, size = id(storage), storage.nbytes() if made else 0
        if name in self._met:
            return

        def gone(_: object) -> None:
            del self._met[name]
            self.alive -= size

        self._met[name] = weakref.ref(storage, gone)
        self.alive += size


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors among the arguments, or results, of an operation."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
