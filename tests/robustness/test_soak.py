"""A hundred thousand small tasks leave no memory behind."""

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.learners import MAML, CompletePooling, InContextTransformer, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, ClassPool

pytestmark = [
    pytest.mark.unchecked,  # the checks of shapes would be half of the time
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"),
]

TASKS = 100_000
AT_ONCE = 400
MEASURED = 50  # times, evenly over the run


def resident() -> float:
    """Resident memory of this process in MiB, without what the C library keeps of freed memory for the next call."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def pool() -> ClassPool:
    generator = torch.Generator().manual_seed(0)
    names = [f"class {number}" for number in range(30)]
    parts = {"train": names[:10], "validation": names[10:20], "test": names[20:]}
    return ClassPool.from_labels(torch.randn(300, 6, generator=generator), np.arange(300) % 30, names, parts)


def rounds() -> Iterator[Callable[[int], None]]:
    """What is repeated, each with the number of its first task."""
    source = pool().episodes(ways=(2, 3), shots=(0, 2), queries=2)
    learners = [
        MAML(MLP(6, (8,)), Categorical(3), inner_steps=1),
        PrototypicalNetwork(MLP(6, (8,))),
        InContextTransformer(MLP(6, (8,)), Categorical(3), width=8, layers=1, heads=2),
        NearestNeighbour(),
        CompletePooling(MLP(6, (8,)), Categorical(3)),
    ]

    def adapted(learner: qs.learners.Learner, first: int) -> None:
        batch = source.train.draw(first, AT_ONCE, 0)
        phi = learner.adapt(batch.support, batch.classes)
        assert torch.isfinite(learner.predict(phi, batch.query.x, batch.query.mask).probs[batch.query.mask]).all()

    for learner in learners:
        yield lambda first, learner=learner: adapted(learner, first)
    yield lambda first: learners[0](source.train.draw(first, AT_ONCE, 0)).mean().backward()
    yield lambda first: qs.evaluate(learners[1], source.test, tasks=AT_ONCE, seed=first, batch_size=100, device="cpu")


def test_memory_stays_flat() -> None:
    """After a tenth to warm up: little is added in all, and over the second half hardly a byte per task."""
    each, measured = list(rounds()), []
    batches = TASKS // AT_ONCE
    for number in range(batches):
        each[number % len(each)](number * AT_ONCE)
        if number % (batches // MEASURED) == 0:
            measured.append((number * AT_ONCE, resident()))
    tasks, memory = np.array(measured).T
    warm = memory[MEASURED // 10]
    assert memory[-1] - warm < 8, f"{memory[-1] - warm:.1f} MiB were added: {memory.round(1).tolist()}"
    half = MEASURED // 2
    slope = np.polyfit(tasks[half:], memory[half:], 1)[0] * TASKS
    assert slope < 4, f"{slope:.1f} MiB would be added with another {TASKS} tasks: {memory.round(1).tolist()}"


def test_what_is_kept_is_noticed() -> None:
    """The measure sees what the promise forbids: 100 bytes per task."""
    before = resident()
    kept = [bytes(100 * AT_ONCE) for _ in range(TASKS // AT_ONCE)]
    assert resident() - before > 8
    del kept
