"""What every multi-task architecture is: inputs in, one loss for each named task out."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils._pytree import tree_leaves

from quickstudy.multitask.batch import NamedBatch, Rows, SharedBatch, hidden, rows
from quickstudy.multitask.heads import Heads, Parallel, check_widths, of_rows
from quickstudy.multitask.objective import Objective
from quickstudy.multitask.representation import Representation
from quickstudy.networks import Network, as_network, evaluating
from quickstudy.rebuild import describe
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["NamedModule", "Objectives"]

Objectives = Mapping[str, Likelihood | Objective]
"""The likelihood of every task by its name, or its objective where a weight or a metric is to be given too."""


class NamedModule(nn.Module, ABC):
    """A network for named tasks with losses of their own.

    `module(batch)` is w_i L_i for every task in the batch, by its name. L_i is −log p, averaged (or summed) over the
    examples that have a target of the task. A task without any has the loss 0 and no gradient.

    Args:
        likelihoods: what each task's outputs mean.
        reduction: mean or sum over the examples of a task.

    Attributes:
        heads: the parameters of single tasks (towers and output layers).

    Raises:
        TypeError: what is named is neither a likelihood nor an objective.
        ValueError: no task, or an unknown reduction.
    """

    heads: nn.Module

    def __init__(self, likelihoods: Objectives, reduction: Reduction = "mean") -> None:
        super().__init__()
        if not isinstance(likelihoods, Mapping):
            raise TypeError(f"likelihoods must be a dict by the tasks' names, got {type(likelihoods).__name__}")
        if not likelihoods:
            raise ValueError("likelihoods is empty: there must be at least one task")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        for task in likelihoods:
            if not isinstance(task, str) or not task:
                raise ValueError(f"likelihoods names a task {task!r}; a name is a text that is not empty")
        self.likelihoods, self.reduction = dict(likelihoods), reduction
        self.objectives = {
            task: given if isinstance(given, Objective) else Objective(given) for task, given in likelihoods.items()
        }
        self.tasks = tuple(self.objectives)
        self.keeps_representation = False
        self.representation: Representation | None = None
        # Tasks whose likelihoods are the same are computed as one.
        self._forms = {task: json.dumps(describe(it.likelihood)) for task, it in self.objectives.items()}

    @property
    def normalization(self) -> str:
        """The policy of its network."""
        return cast(Network, self.network).normalization

    @abstractmethod
    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        """The outputs of the heads.

        Args:
            x: inputs `[row, n, ...]`.
            mask: which of them are real.
            tasks: numbers of the tasks that are asked for.
            of: which row of the inputs is each one's.
        """

    def from_features(
        self, features: Float[Tensor, "row n width"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        """The outputs of the tasks' heads for features that tasks share, where gradients can be balanced at less cost.

        What `training.Balanced` needs for that is kept as `representation` when it asks (`keeps_representation`), but
        not by compiled code, whose insides cannot be handed out.

        Args:
            features: of every row of the inputs, after all that tasks share.
            tasks: numbers of the tasks that are asked for.
            of: which row is each one's.
        """
        kept = self.keeps_representation and not torch.compiler.is_compiling()
        if kept and not getattr(self.heads, "linear", False):
            # Each task's gradient is asked for, and only a copy of its own can tell it.
            copies = of_rows(features, of)
            self.representation = Representation(features, tuple(of), copies)
            return self.heads(copies, tasks)
        raw = self.heads(features if len(features) == 1 else of_rows(features, of), tasks)
        if kept:
            weight, _ = cast(Parallel, cast(Heads, self.heads).layers[0]).leaves(tasks)
            self.representation = Representation(features, tuple(of), raw, weight.detach())
        return raw

    def own_parameters(self) -> list[nn.Parameter]:
        """Parameters that belong to single tasks: the heads, and what else an architecture names."""
        return list(self.heads.parameters())

    def shared_parameters(self) -> list[nn.Parameter]:
        """All others: where tasks meet, and where their gradients are weighed against one another."""
        own = {id(parameter) for parameter in self.own_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def forward(self, batch: NamedBatch | SharedBatch) -> dict[str, Float[Tensor, ""]]:
        """The loss of every task in the batch.

        Raises:
            ValueError: a task that the module was not built for, or batches of unequal length.
            TypeError: targets that do not fit a task's likelihood.
        """
        if self.representation is not None:  # of a batch that no step was made on
            self.representation = None
        for task, _ in batch.items():
            self._number(task)
        view = rows(batch)
        numbers = [self._number(task) for task in view.labels]
        raw = self.raw(view.x, view.mask, numbers, view.of)
        return self._losses(self._as_logged(raw, view.x, numbers, view.of), view)

    def _as_logged(
        self, raw: Float[Tensor, "task n outputs"], x: Tree, tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        """What losses see of the outputs: a module whose data are biased adds the bias here, and serves without it."""
        return raw

    def _losses(self, raw: Float[Tensor, "task n outputs"], view: Rows) -> dict[str, Float[Tensor, ""]]:
        groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        names = list(view.labels)
        for place, task in enumerate(names):
            self._check(task, view.labels[task].y)
            groups.setdefault((self._forms[task], tuple(view.labels[task].y.shape[1:])), []).append(place)
        losses: dict[str, Tensor] = {}
        for places in groups.values():
            members = [view.labels[names[place]] for place in places]
            likelihood = self.objectives[names[places[0]]].likelihood
            mask = torch.cat([one.mask for one in members])
            y = hidden(torch.cat([one.y for one in members]), mask)
            outputs = (raw if len(places) == len(names) else raw[places])[..., : likelihood.outputs]
            loss = -likelihood.log_prob(outputs, Examples(y, y, mask), None, "sum")
            if self.reduction == "mean":
                count = torch.cat([one.count for one in members])
                loss = loss / torch.where(count > 0, count, 1).to(loss.dtype)
            weights = [self.objectives[names[place]].weight for place in places]
            if any(weight != 1 for weight in weights):
                loss = loss * torch.tensor(weights, dtype=loss.dtype, device=loss.device)
            losses.update(zip((names[place] for place in places), loss.unbind(), strict=True))
        return {task: losses[task] for task in names}

    def predict(self, task: str, x: Tree, mask: Bool[Tensor, "1 n"] | None = None) -> Distribution:
        """The predictive distribution of one task for inputs `[1, n, ...]`.

        Raises:
            ValueError: a task that the module was not built for.
        """
        return self._predicted(task, x, mask, logged=False)

    def _predicted(self, task: str, x: Tree, mask: Bool[Tensor, "1 n"] | None, logged: bool) -> Distribution:
        number = self._number(task)
        first = tree_leaves(x)[0]
        mask = torch.ones(first.shape[:2], dtype=torch.bool, device=first.device) if mask is None else mask
        x = hidden(x, mask)
        raw = self.raw(x, mask, [number], [0])
        raw = self._as_logged(raw, x, [number], [0]) if logged else raw
        likelihood = self.objectives[task].likelihood
        return likelihood.distribution(raw[..., : likelihood.outputs])

    @torch.no_grad()
    def scores(self, tasks: Any, batch_size: int = 1024) -> dict[str, float]:
        """Every task's metric over all examples of a split, such as `tasks.test`.

        Args:
            tasks: the split; its draws 0 … size − 1 are every example once.
            batch_size: how many draws are predicted at a time.
        """
        kept: dict[str, list[Any]] = {}
        device = next(chain(self.parameters(), self.buffers())).device
        with evaluating(self):
            for first in range(0, tasks.size, batch_size):
                for task, those in tasks.draw(first, min(batch_size, tasks.size - first), 0).items():
                    those = those.to(device)
                    raw = self.raw(hidden(those.x, those.mask), those.mask, [self._number(task)], [0])
                    kept.setdefault(task, []).append((raw[0], those.y[0], those.mask[0]))
        scored = {}
        for task, parts in kept.items():
            raw, y, real = (torch.cat(leaves) for leaves in zip(*parts, strict=True))
            objective = self.objectives[task]
            scored[task] = objective.score(
                objective.likelihood.distribution(raw[..., : objective.likelihood.outputs]), y, real
            )
        return scored

    def _number(self, task: str) -> int:
        if task not in self.objectives:
            raise ValueError(f"there is no task {task!r}; this module has {', '.join(self.tasks)}")
        return self.tasks.index(task)

    def _check(self, task: str, y: Tree) -> None:
        try:
            self.objectives[task].likelihood.check(y)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the targets of the task {task!r} do not fit its likelihood: {error}") from error

    def _heads(self, width: int, tower: Sequence[int] = ()) -> Heads:
        outputs = max(it.likelihood.outputs for it in self.objectives.values())
        return Heads(len(self.tasks), width, outputs, check_widths("tower", tower, 0))


def trunk(network: nn.Module) -> Network:
    """`network` if it can be the trunk of named tasks, which have no support set.

    Raises:
        TypeError: it is no network.
        ValueError: its normalization needs a support set.
    """
    network = as_network(network)
    if network.normalization in ("support", "transductive", "task"):
        raise ValueError(
            f"the network's normalization is {network.normalization!r}, but named tasks have no support set; "
            "use 'running', 'layer', 'group' or 'none'"
        )
    return network
