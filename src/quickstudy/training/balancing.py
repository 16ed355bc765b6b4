"""Balanced gradients: the losses of tasks weighed against one another by a method of TorchJD, or one of ours.

The methods are theirs (Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization", 2024); what is here is what
a training loop needs beside them: which parameters tasks share, several processes, tasks that are absent, weights that
are kept for some steps, and a state that can be saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from lightning_fabric import Fabric, wrappers
from torch import Tensor, nn
from torch.optim import Optimizer
from torchjd import Stateful, aggregation
from torchjd.aggregation import Aggregator, Constant, GramianWeightedAggregator, WeightedAggregator
from torchjd.scalarization import DWA, FAMO, Scalarizer

from quickstudy.arguments import check_whole
from quickstudy.training.backward import Backward, Losses, flat
from quickstudy.training.conflict_averse import conflict_averse
from quickstudy.training.fabric import loss_scaler
from quickstudy.training.state import restored, snapshot
from quickstudy.training.surgery import surgery, vaccine
from quickstudy.training.task_gradients import TaskGradients, layers, mean

__all__ = ["Balanced", "LossWeighting"]

Place: TypeAlias = Literal["parameters", "representation"]

_Blind: TypeAlias = aggregation.Constant | aggregation.Mean | aggregation.Sum | aggregation.Random
"""Methods that do not look at gradients."""

# Weights as TorchJD gives them, in less time or of shorter gradients, by the very class of the method.
_OURS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    aggregation.PCGrad: lambda _, gram: surgery(gram),
    aggregation.GradVac: lambda method, gram: vaccine(method.gramian_weighting, gram),
    aggregation.CAGrad: lambda method, gram: conflict_averse(method.gramian_weighting, _unit(gram)),
    aggregation.UPGrad: lambda method, gram: method.gramian_weighting(_unit(gram)),
    aggregation.DualProj: lambda method, gram: method.gramian_weighting(_unit(gram)),
}

# Methods that draw nothing at random, by their very class.
_DRAWS_NOTHING = {
    *(aggregation.MGDA, aggregation.IMTLG, aggregation.AlignedMTL, aggregation.UPGrad, aggregation.DualProj),
    *(aggregation.CAGrad, aggregation.Constant, aggregation.Mean, aggregation.Sum),
}


class LossWeighting(nn.Module, ABC):
    """A method of weighing losses by their values and the norms of their gradients; `GradNorm` is one."""

    @abstractmethod
    def forward(self, losses: Float[Tensor, " task"], norms: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        """The weights of this step.

        Args:
            losses: their values.
            norms: of the gradient of each with respect to what the tasks share.
        """


class Balanced(Backward):
    """Σ_i w_i ∇L_i on what tasks share, with weights by a balancing method; ∇L_i on what belongs to task i alone.

    Per-task gradients, and losses, are averaged over processes before the method sees them, so that all processes make
    the same update, that of one process with the whole batch. A task that is absent from the whole batch (its loss and
    its gradient are exactly zero) does not enter. A method with a memory of its own is asked only when all are present;
    otherwise its last weights hold.

    Args:
        method: an aggregator of `torchjd.aggregation` (UPGrad, MGDA, PCGrad, GradVac, CAGrad, IMTL-G, Nash-MTL,
            Aligned-MTL, static weights as `Constant` …), a scalarizer of `torchjd.scalarization` (UW, DWA, FAMO, STCH,
            IMTL-L, random weights …), or a `LossWeighting`.
        module: what is trained. Its `shared_parameters()` and `own_parameters()` say what tasks share; a module without
            them shares everything.
        at: `parameters`: the gradients that are compared are those of the shared parameters, a backward pass for each
            task. `representation`: those of the features that the tasks' heads see, one pass for all; for methods that
            give weights, on inputs that tasks have in common, with a module that has such features (`SharedBottom`).
        gramian_only: at the parameters, when memory is short: the gradients of all tasks are never held, but those of
            one layer at a time, whose inner products are added up; a pass with the weights follows. The update is the
            same. For methods that read no more than inner products; it costs up to as many passes for each task as
            there are layers.
        every: steps for which weights are kept.
        epoch: steps that make an epoch, for DWA.
        optimizer: makes the optimizer of what a method itself learns (the variances of UW); by default Adam at 0.01.

    Raises:
        TypeError: a method of another kind.
        ValueError: options that the method or the module does not allow; the message says why.
    """

    reduces = True

    def __init__(
        self,
        method: Aggregator | Scalarizer | LossWeighting,
        module: nn.Module,
        *,
        at: Place = "parameters",
        gramian_only: bool = False,
        every: int = 1,
        epoch: int | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
    ) -> None:
        if isinstance(method, type):
            raise TypeError(f"method must be made first, as in {method.__name__}(), got the class itself")
        if not isinstance(method, Aggregator | Scalarizer | LossWeighting):
            raise TypeError(
                "method must be an aggregator or a scalarizer of torchjd, or a LossWeighting such as GradNorm, got "
                f"{type(method).__name__}"
            )
        check_whole(every=every, **({} if epoch is None else {"epoch": epoch}))
        if every < 1 or (epoch is not None and epoch < 1):
            raise ValueError(f"every and epoch must be at least 1, got {every} and {epoch}")
        if at not in get_args(Place):
            raise ValueError(f"at must be 'parameters' or 'representation', got {at!r}")
        if isinstance(method, DWA) != (epoch is not None):
            raise ValueError(f"epoch is the number of steps of an epoch, which DWA needs and no other, got {epoch}")
        if not _weighs(method) and (every > 1 or at == "representation"):
            raise ValueError(
                f"{type(method).__name__} gives no weights but a gradient; use it with every=1 and at='parameters'"
            )
        if isinstance(method, FAMO) and every > 1:
            raise ValueError("FAMO compares losses before and after every step; use it with every=1")
        if not _reads_products(method) and (at == "representation" or gramian_only):
            raise ValueError(
                f"{type(method).__name__} reads more of the gradients than their inner products; use at='parameters' "
                "and gramian_only=False"
            )
        if at == "representation" and gramian_only:
            raise ValueError("at the representation no gradients of parameters are held; use gramian_only=False")
        if at == "representation" and not hasattr(module, "representation"):
            raise ValueError(f"{type(module).__name__} keeps no shared representation; use at='parameters'")
        self.method, self.module, self.at, self.every, self.epoch = method, module, at, every, epoch
        own = {id(parameter) for parameter in getattr(module, "own_parameters", list)()}
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.shared = [parameter for parameter in trained if id(parameter) not in own]
        self.own = [parameter for parameter in trained if id(parameter) in own]
        if not self.shared:
            raise ValueError(f"the tasks of {type(module).__name__} share nothing: there is nothing to balance")
        self.layers = layers(module, self.shared) if gramian_only else None
        if hasattr(module, "representation") and not isinstance(method, Scalarizer):
            module.keeps_representation = True  # type: ignore[assignment]
        # FAMO steps what it learns itself.
        learned = [] if isinstance(method, FAMO) else list(method.parameters())
        make = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=0.01))
        self.optimizer = make(learned) if learned else None
        self.steps = 0
        self.weights: Tensor | None = None
        self.device: torch.device | None = None
        # A compiled backward pass would give its buffers away, and here there are several passes through one graph.
        torch._functorch.config.donated_buffer = False

    def check(self, module: nn.Module) -> None:
        trained = {id(parameter) for parameter in module.parameters()}
        if not all(id(parameter) in trained for parameter in self.shared):
            raise ValueError(
                f"this Balanced was made for another {type(self.module).__name__} than the one that is fitted, whose "
                "parameters would stay as they are; make it as Balanced(method, module) with that one"
            )

    @property
    def looks_again(self) -> bool:
        """Whether it must see the losses of the same batch once more, after the step."""
        return isinstance(self.method, FAMO)

    def __call__(self, losses: Losses, fabric: Fabric) -> None:
        try:
            with _in_fabric_backward():
                self._run(losses, fabric)
        finally:
            if hasattr(self.module, "representation"):
                self.module.representation = None  # type: ignore[assignment]
        self.steps += 1
        if isinstance(self.method, DWA) and self.epoch and self.steps % self.epoch == 0:
            self.method.step()

    def _run(self, losses: Losses, fabric: Fabric) -> None:
        values = flat(losses)
        scale = _scale(fabric, values)
        means = mean(values.detach(), fabric)
        if self.device != values.device:
            self.device = values.device
            self.method.to(self.device)
        found = TaskGradients(values if scale == 1 else values * scale, self.module, self.shared, self.own, fabric)
        due = self.weights is None or len(self.weights) != len(means) or self.steps % self.every == 0
        if due and not isinstance(self.method, Scalarizer):
            shared = self._balanced(found, means, scale, fabric)
        else:
            if due:
                self.weights = self._asked(means != 0, lambda there: self._by_losses(means[there]), fabric, means)
            assert self.weights is not None
            shared = found.weighted(self.weights)
        _put(self.shared, shared)
        _put(self.own, found.own)

    def after(self, losses: Losses, fabric: Fabric) -> None:
        """The losses of the same batch after the step, for methods that learn from what it changed."""
        means = mean(flat(losses).detach(), fabric)
        if isinstance(self.method, FAMO) and bool((means != 0).all()):
            self.method.update(means)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        optimizer = None if self.optimizer is None else self.optimizer.state_dict()
        return {
            "steps": self.steps,
            "weights": self.weights,
            "method": snapshot(self.method),
            "optimizer": optimizer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is of another method.
        """
        restored(self.method, state["method"])
        self.steps, self.weights, self.device = state["steps"], state["weights"], None
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])

    def _balanced(self, found: TaskGradients, means: Tensor, scale: float, fabric: Fabric) -> Tensor:
        """The gradient of the shared parameters, from the gradients of all tasks."""
        rows: Tensor | None = None
        if self.at == "representation":
            self._check_features(found)
            gram = found.gramian_there()
            gram = gram if scale == 1 else gram / scale**2
        elif self.layers is not None:
            gram = found.gramian(self.layers)
            gram = gram if scale == 1 else gram / scale**2
        else:
            rows = found.rows()
            rows = rows if scale == 1 else rows / scale
            gram = rows @ rows.mT
        present = means != 0
        if not present.all():
            present = present | (gram.diagonal() != 0)
        if not (torch.isfinite(gram.sum()) or torch.isfinite(gram).all()):
            # Under float16, what overflows is left out by the scaler; otherwise the loop stops, and names the step.
            return torch.full_like(torch.cat([leaf.flatten() for leaf in self.shared]), torch.nan)
        if not _weighs(self.method):
            assert rows is not None
            some = rows[present]
            return self._seeded(lambda: self.method(some), fabric) * scale if len(some) else torch.zeros_like(rows[0])
        self.weights = self._asked(
            present, lambda those: self._by_gradients(means[those], rows, gram[those][:, those], those), fabric, means
        )
        if rows is None:
            return found.weighted(self.weights)
        combined = self.weights.to(rows.dtype) @ rows
        return combined if scale == 1 else combined * scale

    def _check_features(self, found: TaskGradients) -> None:
        if found.kept is None:
            raise ValueError(
                f"{type(self.module).__name__} kept no features that its heads share: it has none (SharedBottom has), "
                "or was compiled as a whole (compile its network alone); otherwise use at='parameters'"
            )
        if len(found.kept.features) > 1 and not isinstance(self.method, LossWeighting | _Blind):
            raise ValueError(
                "the tasks of this batch have inputs of their own, and so features whose gradients cannot be compared; "
                "use at='parameters'"
            )

    def _asked(
        self,
        there: Bool[Tensor, " task"],
        ask: Callable[[Tensor | slice], Tensor],
        fabric: Fabric,
        means: Float[Tensor, " task"],
    ) -> Float[Tensor, " task"]:
        """The method's weights of the tasks that are there, zero for the others."""
        # Static weights depend on nothing, and are for all.
        if isinstance(self.method, Constant) or bool(there.all()):
            return self._seeded(lambda: ask(slice(None)), fabric).to(means.dtype, copy=True)
        if isinstance(self.method, Scalarizer | Stateful | LossWeighting):
            return torch.ones_like(means) if self.weights is None else self.weights
        weights = torch.zeros_like(means)
        if there.any():
            weights[there] = self._seeded(lambda: ask(there), fabric).to(weights.dtype)
        return weights

    def _by_losses(self, means: Float[Tensor, " task"]) -> Float[Tensor, " task"]:
        """∂s/∂L of a scalarizer s(L), at the losses of the whole batch."""
        leaf = means.clone().requires_grad_()
        scalar = self.method(leaf)
        learned = (
            [] if self.optimizer is None else [p for group in self.optimizer.param_groups for p in group["params"]]
        )
        weights, *rest = torch.autograd.grad(scalar, [leaf, *learned])
        if self.optimizer is not None:
            for parameter, gradient in zip(learned, rest, strict=True):
                parameter.grad = gradient
            self.optimizer.step()
            self.optimizer.zero_grad()
        return weights

    def _by_gradients(
        self,
        means: Float[Tensor, " some"],
        rows: Float[Tensor, "task n"] | None,
        gram: Float[Tensor, "some some"],
        those: Bool[Tensor, " task"] | slice,
    ) -> Float[Tensor, " some"]:
        if isinstance(self.method, LossWeighting):
            return self.method(means, gram.diagonal().sqrt())
        if ours := _OURS.get(type(self.method)):
            return ours(self.method, gram)
        if isinstance(self.method, GramianWeightedAggregator):
            return self.method.gramian_weighting(gram)
        assert isinstance(self.method, WeightedAggregator)
        return self.method.weighting(_root(gram) if rows is None else rows[those])

    def _seeded(self, ask: Callable[[], Tensor], fabric: Fabric) -> Tensor:
        """Methods that draw at random must draw the same in every process: from the seed of the first one's step."""
        if type(self.method) in _DRAWS_NOTHING:
            return ask()
        seed = fabric.broadcast(torch.initial_seed()) if fabric.world_size > 1 else torch.initial_seed()
        if fabric.device.type == "cpu":
            # The same as below without asking after every other device, which takes longer than most methods.
            drawn = torch.default_generator.get_state()
            torch.default_generator.manual_seed(seed)
            try:
                return ask()
            finally:
                torch.default_generator.set_state(drawn)
        with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return ask()


@contextmanager
def _in_fabric_backward() -> Iterator[None]:
    """Under mixed precision Fabric refuses every backward pass that is not its own, which is one, of one loss, and
    knows nothing of several; what it would do (scale the loss) is done here."""
    wrappers._in_fabric_backward = True
    try:
        yield
    finally:
        wrappers._in_fabric_backward = False


def _weighs(method: nn.Module) -> bool:
    """Whether the method says how much each task counts, and not only what the gradient is."""
    return not isinstance(method, Aggregator) or isinstance(method, WeightedAggregator)


def _reads_products(method: nn.Module) -> bool:
    """Whether all that the method reads of gradients are their inner products, if anything."""
    return not isinstance(method, Aggregator) or isinstance(
        method,
        GramianWeightedAggregator | aggregation.NashMTL | _Blind,
    )


def _unit(gram: Float[Tensor, "task task"]) -> Float[Tensor, "task task"]:
    """The Gramian with the trace 1, for methods whose weights do not depend on it: TorchJD takes gradients for zero
    where it is below a number, which at the representation, a mean over examples, it is in every large batch."""
    trace = gram.diagonal().sum()
    return gram / torch.where(trace > 0, trace, 1)


def _root(gram: Float[Tensor, "task task"]) -> Float[Tensor, "task task"]:
    """R with R Rᵀ = G: short rows with the inner products of long ones, for methods that want rows."""
    values, vectors = torch.linalg.eigh(gram)
    return vectors * values.clamp(min=0).sqrt()


def _put(parameters: Sequence[nn.Parameter], gradient: Float[Tensor, " n"]) -> None:
    for parameter, part in zip(parameters, gradient.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.dtype)


def _scale(fabric: Fabric, values: Tensor) -> float:
    """By what losses are multiplied under float16; the optimizer divides gradients by it."""
    scaler = loss_scaler(fabric)
    if scaler is None:
        return 1.0
    scaler.scale(values.detach()[:1])  # it makes its number at the first call
    return float(scaler.get_scale())
