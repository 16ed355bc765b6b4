"""Modules of groups of tasks as one: its answers are those of its parts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import Assembled, MultiGateMixture, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP, Inputs
from quickstudy.tasks import Bernoulli, Categorical, Gaussian

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = {"c": (X[:, 0] > 0).astype(int), "a": X[:, 1], "b": (X[:, 2] > 0).astype(float)}


def parts() -> list:
    torch.manual_seed(0)
    pair = MultiGateMixture(Inputs(3), {"a": Gaussian(), "b": Bernoulli()}, 2, (4,))
    return [pair, SharedBottom(MLP(3, (5,)), {"c": Categorical(3)})]


@pytest.mark.parametrize("form", ["shared", "apart"])
def test_losses_and_scores_are_those_of_the_parts(form: str) -> None:
    pair, single = parts()
    whole = Assembled([pair, single]).eval()
    assert whole.tasks == ("a", "b", "c")
    tasks = shared_tasks(X, Y) if form == "shared" else named_tasks({task: (X, y) for task, y in Y.items()})
    batch = tasks.train.draw(0, 9, 0)
    losses = whole(batch)
    assert list(losses) == ["c", "a", "b"]
    for task in Y:
        part = single if task == "c" else pair
        assert_close(losses[task], part({task: batch[task]})[task])
        assert whole.scores(tasks.test)[task] == part_scores(part, tasks, task)
        x = batch[task].x
        assert_close(whole.predict(task, x).mean, part.predict(task, x).mean, equal_nan=True)


def part_scores(part: SharedBottom, tasks: object, task: str) -> float:
    from quickstudy.evaluation.sharing import _Only

    return part.scores(_Only(tasks.test, [task]))[task]  # type: ignore[attr-defined]


def test_it_is_saved_and_shares_what_parts_share(tmp_path: Path) -> None:
    pair, single = parts()
    whole = Assembled([pair, single]).eval()
    qs.save(whole, tmp_path / "module")
    batch = shared_tasks(X, Y).train.draw(0, 9, 0)
    assert_close(qs.load(tmp_path / "module").eval()(batch), whole(batch))
    shared = {id(leaf) for leaf in whole.shared_parameters()}
    assert shared == {id(leaf) for leaf in pair.shared_parameters()}


@pytest.mark.unchecked  # the checks would refuse some of it before the library can
def test_what_it_refuses() -> None:
    pair, _ = parts()
    with pytest.raises(ValueError, match="parts have a task in common; their tasks are a, b, a, b"):
        Assembled([pair, pair])
    with pytest.raises(ValueError, match="parts is empty"):
        Assembled([])
    with pytest.raises(TypeError, match="parts must be a list of NamedModules"):
        Assembled([MLP(3)])  # type: ignore[list-item]
    other = SharedBottom(MLP(3, (5,)), {"c": Categorical(3)}, reduction="sum")
    with pytest.raises(ValueError, match="one reduction"):
        Assembled([pair, other])
