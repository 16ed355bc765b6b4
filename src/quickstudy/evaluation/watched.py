"""A training of named tasks that is watched: cosines of gradients, and affinities of tasks, every few steps."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.evaluation.gradient_cosines import gradient_cosines, shared_layers
from quickstudy.evaluation.task_affinity import task_affinity
from quickstudy.multitask import NamedModule
from quickstudy.tasks.source import Sampler
from quickstudy.training import Backward, Losses, Mean
from quickstudy.training.fabric import to_module

__all__ = ["Watched"]


class Watched(Backward):
    """A `backward` for `fit` that measures what tasks do to each other, and otherwise is the one it is given.

    Batches are functions of the seed and the step: it draws that of the step again, and the training is the same to
    the bit as without it.

    Args:
        module: what is trained.
        tasks, batch_size, seed: as `fit` is given them.
        every: steps between measurements; the first step is measured.
        rate: of the lookahead, see `task_affinity`.
        backward: what makes the gradients; `Mean()` by default.

    Attributes:
        steps: which were measured.
        layers: names of the layers that tasks share.

    Raises:
        TypeError, ValueError: a module that shares nothing, or a number out of range.
    """

    def __init__(
        self,
        module: NamedModule,
        tasks: Sampler[Any],
        *,
        batch_size: int,
        seed: int = 0,
        every: int = 10,
        rate: float = 1e-2,
        backward: Backward | Callable[[Losses, Fabric], None] | None = None,
    ) -> None:
        self.layers = tuple(shared_layers(module))
        check_whole(batch_size=batch_size, every=every)
        check_seed(seed)
        check_real(rate=rate)
        if min(batch_size, every) < 1:
            raise ValueError(f"batch_size and every must be at least 1, got {batch_size} and {every}")
        if not rate > 0:
            raise ValueError(f"rate must be positive, got {rate}")
        self.module, self.tasks, self.batch_size, self.seed = module, tasks, batch_size, seed
        self.every, self.rate, self.backward = every, rate, backward or Mean()
        self.done, self.steps = 0, list[int]()
        self._cosines, self._affinities = list[Tensor](), list[Tensor]()

    @property
    def reduces(self) -> bool:  # type: ignore[override]
        """As of what makes the gradients."""
        return getattr(self.backward, "reduces", False)

    @property
    def looks_again(self) -> bool:
        """As of what makes the gradients."""
        return getattr(self.backward, "looks_again", False)

    def after(self, losses: Losses, fabric: Fabric) -> None:
        """As of what makes the gradients."""
        cast(Any, self.backward).after(losses, fabric)

    def __call__(self, losses: Losses, fabric: Fabric) -> None:
        self.backward(losses, fabric)
        if self.done % self.every == 0:
            batch = to_module(self.tasks.sample(self.done, self.batch_size, self.seed), self.module, fabric)
            self._cosines.append(torch.stack(list(gradient_cosines(self.module, batch).values())).cpu())
            self._affinities.append(task_affinity(self.module, batch, self.rate).cpu())
            self.steps.append(self.done)
        self.done += 1

    @property
    def cosines(self) -> Float[Tensor, "step layer task task"]:
        """Cosines of gradients at every measured step, see `gradient_cosines`."""
        return torch.stack(self._cosines)

    @property
    def affinities(self) -> Float[Tensor, "step task task"]:
        """Affinities at every measured step, see `task_affinity`."""
        return torch.stack(self._affinities)

    @property
    def affinity(self) -> Float[Tensor, "task task"]:
        """Their mean over the measured steps in which they are defined."""
        return self.affinities.nanmean(0)

    def state_dict(self) -> dict[str, Any]:
        inner = self.backward.state_dict() if isinstance(self.backward, Backward) else {}
        measured = {"cosines": list(self._cosines), "affinities": list(self._affinities)}
        return {"backward": inner, "done": self.done, "steps": list(self.steps), **measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.done, self.steps = state["done"], list(state["steps"])
        # A checkpoint is read onto the device of the training.
        self._cosines = [each.cpu() for each in state["cosines"]]
        self._affinities = [each.cpu() for each in state["affinities"]]
        if isinstance(self.backward, Backward):
            self.backward.load_state_dict(state["backward"])
