"""What the inner loop does: how good a learner is before its first step and after every one, and what moves.

Whether MAML learns fast or merely reuses its features is a question about layers: which of them change when it adapts.
Raghu, Raghu, Bengio & Vinyals, "Rapid Learning or Feature Reuse?", ICLR 2020.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from quickstudy import progress
from quickstudy.evaluation.asked import check_asked
from quickstudy.evaluation.intervals import Interval, interval
from quickstudy.evaluation.metrics import task_metrics
from quickstudy.learners import GradientLearner, Phi
from quickstudy.learners.weights import Weights
from quickstudy.networks import evaluating
from quickstudy.tasks import Examples, Split, TaskBatch
from quickstudy.training.errors import naming_draws
from quickstudy.training.fabric import make_fabric, to_module

__all__ = ["Adaptation", "Course", "inspect_adaptation"]

Course: TypeAlias = tuple[Interval, ...]
"""A mean over tasks with its interval, before the first inner step and after every one."""


@dataclass(frozen=True)
class Adaptation:
    """How a learner adapts, step by step. Everything is a mean over tasks, with its interval.

    A layer is named by its place in the learner's predictor, as `adapting=…` finds it; the weight and the bias of one
    module are one layer.

    Attributes:
        support: by metric, how well the examples that are learned from are predicted; `nll` is the loss, in nats per
            example. Tasks without a support are left out; where none has any, there is no metric.
        query: the same of the examples that are asked for: what `evaluate` would give after so many steps.
        gradient: the norm of what the next step goes down, all layers together.
        gradients: by layer that adapts, its part of that.
        changes: by layer that adapts, how far it is from where it began: ‖φ − θ‖ / ‖θ‖.
        absolute: the layers that begin at zero, whose change is ‖φ − θ‖.
        still: the layers that do not adapt.
    """

    support: dict[str, Course]
    query: dict[str, Course]
    gradient: Course
    gradients: dict[str, Course]
    changes: dict[str, Course]
    absolute: tuple[str, ...] = ()
    still: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """How many inner steps there are."""
        return len(self.gradient) - 1

    @property
    def tasks(self) -> int:
        """How many tasks were looked at."""
        return self.gradient[0].tasks

    @property
    def metric(self) -> str:
        """What people measure such tasks by: `accuracy` or `mse`."""
        return "accuracy" if "accuracy" in self.query else "mse"

    def to_json(self) -> dict[str, Any]:
        """As cards hold it."""
        return {
            "support": {name: _packed(course) for name, course in self.support.items()},
            "query": {name: _packed(course) for name, course in self.query.items()},
            "gradient": _packed(self.gradient),
            "gradients": {name: _packed(course) for name, course in self.gradients.items()},
            "changes": {name: _packed(course) for name, course in self.changes.items()},
            "absolute": list(self.absolute),
            "still": list(self.still),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Adaptation":
        """The inverse of `to_json`."""
        support, query, gradients, changes = (
            {name: _unpacked(course) for name, course in value[part].items()}
            for part in ("support", "query", "gradients", "changes")
        )
        absolute, still = tuple(value["absolute"]), tuple(value["still"])
        return cls(support, query, _unpacked(value["gradient"]), gradients, changes, absolute, still)


def inspect_adaptation(
    learner: GradientLearner,
    split: Split,
    *,
    tasks: int = 100,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
) -> Adaptation:
    """Follow a learner's inner loop on numbered tasks.

    Args:
        learner: put into evaluation mode meanwhile, so that it makes its `evaluation_steps`.
        split: usually `source.test`; tasks 0 … tasks − 1 of the stream `seed` are taken.
        tasks: how many.
        seed: of the stream.
        batch_size: tasks at a time.
        device: as for `evaluate`.

    Raises:
        TypeError: a learner without an inner loop, or an argument of another type.
        ValueError: a number below one, a malformed batch, or an inner loop that leaves the finite numbers.
    """
    if not isinstance(learner, GradientLearner):
        raise TypeError(
            "learner must be a GradientLearner such as MAML, which adapts in steps that can be followed, "
            f"got {type(learner).__name__}"
        )
    check_asked(split, tasks=tasks, batch_size=batch_size)
    fabric = make_fabric(device)
    tasks = min(tasks, split.size or tasks)
    split = split.to(fabric.device)
    seen: list[_Seen] = []
    with evaluating(learner, fabric.device), progress.bar("inspecting", tasks) as bar, torch.no_grad():
        for first in range(0, tasks, batch_size):
            count = min(batch_size, tasks - first)
            batch = to_module(split.draw(first, count, seed), learner, fabric)
            with naming_draws(first, count, seed):
                seen.append(_follow(learner, batch))
            bar.advance(count)
    known = _joined([each.values for each in seen])

    def courses(part: str) -> dict[str, Course]:
        return {name: _course(values) for (of, name), values in known.items() if of == part}

    return Adaptation(
        courses("support"),
        courses("query"),
        courses("gradient")["all"],
        courses("gradients"),
        courses("changes"),
        seen[0].absolute,
        seen[0].still,
    )


Values: TypeAlias = dict[tuple[str, str], NDArray[np.float64]]


@dataclass(frozen=True)
class _Seen:
    """What was seen of some tasks: by part and name `[step, task]`, NaN where a task has no such value."""

    values: Values
    absolute: tuple[str, ...]
    still: tuple[str, ...]


def _follow(learner: GradientLearner, batch: TaskBatch) -> _Seen:
    batch.check_values()
    learner.likelihood.check(batch.query.y)
    rows: dict[tuple[str, str], list[Float[Tensor, " task"]]] = {}
    begin: Weights | None = None
    layers: dict[str, list[str]] = {}
    lengths: dict[str, Float[Tensor, " task"]] = {}
    absolute: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
    for state in learner.trajectory(batch.support, batch.classes):
        weights = {name: state.phi["weights"][name] for name in state.slopes}
        if begin is None:
            begin = weights
            layers, still = _layers([name for name, _ in learner.predictor.named_parameters()], list(weights))
            lengths = {layer: _norm([begin[name] for name in names]) for layer, names in layers.items()}
            absolute = tuple(layer for layer, length in lengths.items() if not length.any())
        found = {("gradient", "all"): _norm(list(state.slopes.values()))}
        for layer, names in layers.items():
            found["gradients", layer] = _norm([state.slopes[name] for name in names])
            moved = _norm([weights[name] - begin[name] for name in names])
            found["changes", layer] = moved if layer in absolute else moved / lengths[layer]
        for part, examples in (("support", batch.support), ("query", batch.query)):
            for metric, value in _metrics(learner, state.phi, examples, asked=part == "query").items():
                found[part, metric] = value
        for key, value in found.items():
            rows.setdefault(key, []).append(value)
    return _Seen({key: torch.stack(each).cpu().numpy() for key, each in rows.items()}, absolute, still)


def _metrics(learner: GradientLearner, phi: Phi, examples: Examples, asked: bool) -> dict[str, Float[Tensor, " task"]]:
    """Metrics of the real examples, NaN for a task that has none, which only the query (`asked`) must have."""
    examples = examples.inert()
    if examples.mask.shape[1] == 0:
        return {}
    some = examples.mask
    without = ~some.any(1)
    if not asked:
        # An example of zeros stands in where there is none, and is forgotten again.
        some = some | without[:, None]
    values = task_metrics(learner.predict(phi, examples.x, some), examples.y, some)
    return {name: torch.where(without, math.nan, value) for name, value in values.items()}


def _layers(every: Sequence[str], adapting: Sequence[str]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The names of weights by layer, of those that adapt; and the layers that do not.

    A module of which all weights adapt, or none, is one layer. Of others, and where a module has but one thing that is
    no weight matrix (a context, say), the full name stands.
    """
    modules: dict[str, list[str]] = {}
    for name in dict.fromkeys([*every, *adapting]):
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    moving: dict[str, list[str]] = {}
    still: list[str] = []
    free = set(adapting)
    for module, names in modules.items():
        whole = module and len({name in free for name in names}) == 1
        whole = whole and (len(names) > 1 or names[0] == f"{module}.weight")
        for layer, members in {module: names}.items() if whole else ((name, [name]) for name in names):
            if members[0] in free:
                moving[layer] = members
            else:
                still.append(layer)
    return moving, tuple(still)


def _norm(tensors: Sequence[Tensor]) -> Float[Tensor, " task"]:
    """The length of several tensors `[task, …]` as one vector."""
    return torch.stack([tensor.double().reshape(len(tensor), -1).square().sum(1) for tensor in tensors]).sum(0).sqrt()


def _joined(parts: Sequence[Values]) -> Values:
    """The tasks of all parts; what no task has is left out."""
    kinds = dict.fromkeys(kind for part in parts for kind in part)
    missing = [np.full_like(part["gradient", "all"], math.nan) for part in parts]
    joined = {
        kind: np.concatenate([part.get(kind, none) for part, none in zip(parts, missing, strict=True)], 1)
        for kind in kinds
    }
    return {kind: values for kind, values in joined.items() if not np.isnan(values).all()}


def _course(values: NDArray[np.float64]) -> Course:
    """`[step, task]` as means over the tasks that have a value."""
    real = ~np.isnan(values[0])
    return tuple(interval(row[real]) for row in values)


def _packed(course: Course) -> dict[str, Any]:
    """As columns: a network has many layers."""
    ends = [each.to_json() for each in course]
    return {"mean": [e["mean"] for e in ends], "ci95": [e["ci95"] for e in ends], "tasks": course[0].tasks}


def _unpacked(value: Mapping[str, Any]) -> Course:
    return tuple(
        Interval.from_json({"mean": mean, "ci95": ci95, "tasks": value["tasks"]})
        for mean, ci95 in zip(value["mean"], value["ci95"], strict=True)
    )
