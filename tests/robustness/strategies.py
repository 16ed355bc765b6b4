"""Batches of tasks as they come, and as they should not: inputs `[task, n, 6]`, at most 4 classes or one target."""

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import quickstudy as qs
from quickstudy.learners import FineTuning, FromScratch, GradientLearner, Learner
from quickstudy.tasks import Examples, TaskBatch

WIDTH, WAYS = 6, 4
KINDS = ("classification", "binary", "regression")
LEARNERS = {name: cls for name, cls in qs.registered(Learner).items() if cls.__module__.startswith("quickstudy.")}
POLICIES = ("none", "support", "transductive", "running", "task", "layer")


@st.composite
def learners(draw: Callable, kinds: tuple[str, ...] = KINDS) -> Learner:
    """A small learner of any method, kind and policy."""
    cls = draw(st.sampled_from([cls for cls in LEARNERS.values() if cls.kinds & set(kinds)]))
    kind = draw(st.sampled_from(sorted(cls.kinds & set(kinds))))
    torch.manual_seed(0)
    learner = cls.example(kind, draw(st.sampled_from(POLICIES)) if cls not in _NO_RUNNING else "support")
    if isinstance(learner, FromScratch | FineTuning):
        learner.steps = 2
    return learner.train(draw(st.booleans()))


# Who changes the weights for every task has no use for running averages.
_NO_RUNNING = {cls for cls in LEARNERS.values() if issubclass(cls, GradientLearner | FromScratch | FineTuning)}


@st.composite
def batches(draw: Callable, kind: str, magnitudes: tuple[float, ...] = (1.0,)) -> TaskBatch:
    """A valid batch: uneven, now and then without shots, of one class, of one example, or of padding alone."""
    tasks, support, query = draw(st.integers(1, 3)), draw(st.integers(0, 5)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    magnitude = draw(st.sampled_from(magnitudes))
    ways = draw(st.integers(1, WAYS))
    classes = torch.rand(tasks, ways, generator=generator) < 0.7
    classes[torch.arange(tasks), torch.randint(ways, (tasks,), generator=generator)] = True

    def examples(n: int, least: int) -> Examples:
        sizes = torch.randint(least, n + 1, (tasks,), generator=generator)
        mask = torch.arange(n) < sizes[:, None]
        # Inputs of any size; now and then every number is the same, so that nothing varies.
        x = magnitude * torch.randn(tasks, n, WIDTH, generator=generator)
        x = torch.where(torch.rand(tasks, 1, 1, generator=generator) < 0.1, magnitude, x)
        if kind == "classification":
            chances = classes.double()[:, None].expand(-1, max(n, 1), -1).flatten(0, 1)
            y = chances.multinomial(1, generator=generator).reshape(tasks, -1)[:, :n]
            worst: Any = draw(st.sampled_from([-1, 10**9]))
        elif kind == "binary":
            y, worst = torch.randint(2, (tasks, n), generator=generator).float(), math.nan
        else:
            y, worst = magnitude * torch.randn(tasks, n, generator=generator), math.inf
        # The worst that can stand in padding.
        return Examples(torch.where(mask[..., None], x, math.nan), torch.where(mask, y, worst), mask)

    return TaskBatch(
        examples(support, 0), examples(query, draw(st.integers(0, 1))), classes if kind == "classification" else None
    )


Mutation = Callable[[TaskBatch], TaskBatch]


def _with(part: str, field: str, change: Callable[[Any], Any]) -> Mutation:
    def mutate(batch: TaskBatch) -> TaskBatch:
        examples = getattr(batch, part)
        fields = {"x": examples.x, "y": examples.y, "mask": examples.mask}
        parts = {"support": batch.support, "query": batch.query}
        parts[part] = Examples(**{**fields, field: change(fields[field])})
        return TaskBatch(**parts, classes=batch.classes)

    return mutate


def _real(value: float) -> Callable[[Tensor], Tensor]:
    """Overwrite the first entry of every row, real or not."""

    def change(leaf: Tensor) -> Tensor:
        leaf = leaf.clone()
        leaf[:, :1] = value
        return leaf

    return change


_X: dict[str, Callable[[Any], Any]] = {
    "NaN": _real(math.nan),
    "infinite": _real(-math.inf),
    "wider": lambda x: torch.cat([x, x], -1),
    "an axis more": lambda x: x[..., None],
    "no features": lambda x: x[..., :0],
    "one axis": lambda x: x.flatten(),
    "whole numbers": lambda x: torch.zeros_like(x, dtype=torch.uint8),
    "float64": lambda x: x.double(),
    "half": lambda x: x.half(),
    "complex": lambda x: torch.zeros_like(x, dtype=torch.complex64),
    "bool": lambda x: x > 0,
    "longer": lambda x: torch.cat([x, x[:, :1], x[:, :1]], 1) if x.shape[1] else x.new_zeros(x.shape[0], 1, WIDTH),
    "fewer tasks": lambda x: x[1:],
    "more tasks": lambda x: torch.cat([x, x]),
    "None": lambda x: None,
    "a list": lambda x: x.tolist(),
    "an array": lambda x: x.numpy(),
    "an empty tree": lambda x: {},
    "a tree": lambda x: {"a": x, "b": x},
    "a text": lambda x: "x",
}
_Y: dict[str, Callable[[Any], Any]] = {
    "negative": _real(-1),
    "beyond the classes": _real(97),
    "huge": _real(2**62),
    "NaN": lambda y: torch.full(y.shape, math.nan),
    "infinite": lambda y: torch.full(y.shape, math.inf),
    "real": lambda y: torch.full(y.shape, 0.5),
    "int32": lambda y: torch.zeros_like(y, dtype=torch.int32),
    "bool": lambda y: torch.zeros_like(y, dtype=torch.bool),
    "float64": lambda y: torch.zeros_like(y, dtype=torch.float64),
    "an axis more": lambda y: y[..., None].expand(*y.shape, 2),
    "an axis fewer": lambda y: y.flatten(),
    "longer": lambda y: torch.cat([y, y[:, :1], y[:, :1]], 1) if y.shape[1] else y.new_zeros(y.shape[0], 1),
    "fewer tasks": lambda y: y[1:],
    "None": lambda y: None,
    "a list": lambda y: y.tolist(),
    "a tree": lambda y: {"a": y},
}
_MASK: dict[str, Callable[[Any], Any]] = {
    "floating point": lambda mask: mask.float(),
    "whole numbers": lambda mask: mask.long(),
    "one axis": lambda mask: mask.flatten(),
    "an axis more": lambda mask: mask[..., None],
    "longer": lambda mask: torch.cat([mask, mask, mask[:, :1]], 1) if mask.shape[1] else mask.new_ones(len(mask), 1),
    "fewer tasks": lambda mask: mask[1:],
    "None": lambda mask: None,
    "all False": torch.zeros_like,
}
_CLASSES: dict[str, Callable[[Any], Any]] = {
    "all False": lambda classes: torch.zeros(2, WAYS, dtype=torch.bool) if classes is None else classes & False,
    "no class": lambda classes: torch.zeros(2, 0, dtype=torch.bool) if classes is None else classes[:, :0],
    "floating point": lambda classes: torch.ones(2, WAYS) if classes is None else classes.float(),
    "one axis": lambda classes: torch.ones(WAYS, dtype=torch.bool) if classes is None else classes[0],
    "fewer tasks": lambda classes: torch.ones(9, WAYS, dtype=torch.bool) if classes is None else classes[1:],
    "too many": lambda classes: torch.ones(len(classes) if classes is not None else 2, 40, dtype=torch.bool),
    "one": lambda classes: torch.ones(len(classes) if classes is not None else 2, 1, dtype=torch.bool),
    "None": lambda classes: None,
    "a list": lambda classes: [[True]],
    "a text": lambda classes: "classes",
}
MUTATIONS: dict[str, Mutation] = {
    **{
        f"{part}.{field}: {name}": _with(part, field, change)
        for part in ("support", "query")
        for field, changes in (("x", _X), ("y", _Y), ("mask", _MASK))
        for name, change in changes.items()
    },
    **{
        f"classes: {name}": lambda batch, change=change: TaskBatch(batch.support, batch.query, change(batch.classes))
        for name, change in _CLASSES.items()
    },
    "no tasks": lambda batch: batch[[]],
    "no support": lambda batch: TaskBatch(None, batch.query, batch.classes),  # type: ignore[arg-type]
    "no query": lambda batch: TaskBatch(batch.support, None, batch.classes),  # type: ignore[arg-type]
    "the query of fewer tasks": lambda batch: TaskBatch(batch.support, batch.query[1:], batch.classes),
    "the support of more tasks": lambda batch: TaskBatch(
        batch.support.map(lambda leaf: torch.cat([leaf, leaf])), batch.query, batch.classes
    ),
}

numbers = st.sampled_from([-1, 0, 1, 2, 10**12, -(10**12), 0.5, -0.5, 1.5, math.nan, math.inf, -math.inf, 1e300])
"""Numbers that an argument may or may not take."""
absurd = numbers | st.sampled_from([None, True, False, "", "ten", b"x", [], {}, (), [1, 2], object()])
"""Anything at all."""
