"""Cosines and affinities against plain loops, groupings against all there are, Δm by hand."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close
from torchjd.aggregation import MGDA

import quickstudy as qs
from quickstudy.evaluation import (
    Watched,
    gradient_cosines,
    grouping,
    mean_gain,
    mean_relative_change,
    relative_change,
    task_affinity,
)
from quickstudy.multitask import (
    MultiGateMixture,
    NamedModule,
    SeparateNetworks,
    SharedBottom,
    named_tasks,
    shared_tasks,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.tasks import Bernoulli, Categorical, Gaussian
from quickstudy.training import Balanced

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = {"a": X[:, 0], "b": np.digitize(X[:, 1], [-0.5, 0.5]), "c": (X[:, 2] > 0).astype(np.float32)}
LIKELIHOODS = {"a": Gaussian(), "b": Categorical(3), "c": Bernoulli()}
TOGETHER = shared_tasks(X, Y)
APART = named_tasks({task: (X, y) for task, y in Y.items()})


def made(kind: str) -> NamedModule:
    torch.manual_seed(0)
    if kind == "bottom":
        return SharedBottom(MLP(4, (8, 6)), LIKELIHOODS)
    if kind == "running":
        return SharedBottom(MLP(4, (8, 6), "running"), LIKELIHOODS)
    return MultiGateMixture(Inputs(4), LIKELIHOODS, 3, (8,), dropout=0.3)


@pytest.mark.parametrize("kind", ["bottom", "running", "mixture"])
@pytest.mark.parametrize("tasks", [TOGETHER, APART], ids=["together", "apart"])
def test_cosines_are_those_of_a_plain_loop(kind: str, tasks: object) -> None:
    module, batch = made(kind), tasks.train.draw(0, 9, 0)  # type: ignore[attr-defined]
    cosines = gradient_cosines(module, batch)
    module.eval()
    named = dict(module.named_parameters())
    for layer, found in cosines.items():
        mine = [parameter for name, parameter in named.items() if name.rpartition(".")[0] == layer]
        for i, first in enumerate(LIKELIHOODS):
            for j, second in enumerate(LIKELIHOODS):
                one, other = (
                    torch.cat([g.flatten() for g in torch.autograd.grad(module(batch)[task], mine)])
                    for task in (first, second)
                )
                assert_close(found[i, j], torch.cosine_similarity(one, other, dim=0), atol=1e-5, rtol=1e-4)
    if kind == "bottom":
        assert list(cosines) == ["network.layers.0", "network.layers.1"]


def test_the_same_task_twice_and_its_opposite() -> None:
    """With heads alike, the same targets pull alike, and a head turned round against the opposite ones too."""
    module = SharedBottom(MLP(4, (8,)), dict.fromkeys("abc", Gaussian()))
    last = module.heads.layers[-1]
    last.weight.data.copy_(last.weight.data[:1].expand_as(last.weight))
    last.bias.data.zero_()
    last.weight.data[2] *= -1
    batch = shared_tasks(X, {"a": X[:, 0], "b": X[:, 0], "c": -X[:, 0]}).train.draw(0, 9, 0)
    (found,) = gradient_cosines(module, batch).values()
    assert_close(found, torch.ones(3, 3))
    # The same head cannot serve both.
    last.weight.data[2] *= -1
    (found,) = gradient_cosines(module, batch).values()
    assert found[0, 2] < 0.9


@pytest.mark.parametrize("kind", ["bottom", "running", "mixture"])
@pytest.mark.parametrize("tasks", [TOGETHER, APART], ids=["together", "apart"])
def test_affinities_are_those_of_copies_that_step(kind: str, tasks: object) -> None:
    module, batch = made(kind), tasks.train.draw(0, 9, 0)  # type: ignore[attr-defined]
    before = copy.deepcopy(module.state_dict())
    found = task_affinity(module, batch, 0.05)
    assert module.training
    for name, leaf in module.state_dict().items():
        assert torch.equal(leaf, before[name])
    module.eval()
    for i, helper in enumerate(LIKELIHOODS):
        other = copy.deepcopy(module)
        optimizer = torch.optim.SGD(other.shared_parameters(), 0.05)
        other(batch)[helper].backward()
        optimizer.step()
        for j, helped in enumerate(LIKELIHOODS):
            assert_close(found[i, j], 1 - other(batch)[helped].detach() / module(batch)[helped].detach())


def test_a_task_without_targets_has_no_direction() -> None:
    batch = TOGETHER.train.draw(0, 9, 0)
    batch.mask["b"][:] = False
    batch.count["b"][:] = 0
    (first, _) = gradient_cosines(made("bottom"), batch).values()
    assert first[1].isnan().all()
    assert first[0, 2].isfinite()
    assert task_affinity(made("bottom"), batch)[:, 1].isnan().all()


@pytest.mark.parametrize("balanced", [False, True])
def test_who_is_watched_trains_as_ever(balanced: bool, tmp_path: Path) -> None:
    def backward(module: NamedModule) -> Balanced | None:
        return Balanced(MGDA(), module, at="representation") if balanced else None

    plain, watched = made("bottom"), made("bottom")
    qs.fit(plain, TOGETHER.train, steps=7, batch_size=8, seed=3, device="cpu", backward=backward(plain))

    def watch(module: NamedModule) -> Watched:
        return Watched(module, TOGETHER.train, batch_size=8, seed=3, every=3, backward=backward(module))

    probe = watch(watched)
    qs.fit(watched, TOGETHER.train, steps=7, batch_size=8, seed=3, device="cpu", backward=probe, folder=tmp_path)
    for mine, other in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert probe.steps == [0, 3, 6]
    assert probe.cosines.shape == (3, 2, 3, 3)
    start, batch = made("bottom"), TOGETHER.train.sample(0, 8, 3)
    assert_close(probe.affinities[0], task_affinity(start, batch))
    assert_close(probe.cosines[0], torch.stack(list(gradient_cosines(start, batch).values())))
    assert_close(probe.affinity, probe.affinities.mean(0))
    # What was measured is in the checkpoint.
    again = watch(made("bottom"))
    qs.fit(again.module, TOGETHER.train, steps=7, batch_size=8, seed=3, device="cpu", backward=again, folder=tmp_path,
           resume=True)  # fmt: skip
    assert_close(again.affinities, probe.affinities)
    assert again.steps == probe.steps


def splits(tasks: int) -> Iterator[list[list[int]]]:
    if tasks == 0:
        yield []
        return
    for rest in splits(tasks - 1):
        yield [*rest, [tasks - 1]]
        for number in range(len(rest)):
            yield [[*group, tasks - 1] if place == number else group for place, group in enumerate(rest)]


@pytest.mark.parametrize("groups", [1, 2, 3, None])
def test_the_grouping_is_the_best_of_all(groups: int | None) -> None:
    everything = list(splits(6))
    assert len(everything) == 203
    for shift in (-1.0, 0.0, 0.7):
        for _ in range(10):
            gains = RNG.normal(size=(6, 6)) + shift
            best = max(mean_gain(gains, split) for split in everything if groups is None or len(split) <= groups)
            found = grouping(gains, groups)
            assert len(found) <= (groups or 6)
            assert mean_gain(gains, found) == pytest.approx(best)


def test_twelve_tasks_of_which_pairs_help_each_other() -> None:
    gains = -np.ones((12, 12))
    pairs = RNG.permutation(12).reshape(6, 2)
    gains[pairs[:, 0], pairs[:, 1]] = gains[pairs[:, 1], pairs[:, 0]] = 1
    assert grouping(gains, 10**9) == sorted(sorted(map(int, pair)) for pair in pairs)


def test_the_unit_of_gains_does_not_matter() -> None:
    gains = RNG.normal(size=(5, 5))
    for tasks in (gains, np.kron(gains, np.ones((3, 3)))):  # few, and many
        huge = tasks / np.abs(tasks).max() * 1e308
        assert grouping(tasks) == grouping(huge) == grouping(1e-300 * tasks)
    assert grouping(np.zeros((3, 3)), 1) == [[0, 1, 2]]


def test_gains_of_groups_are_means_over_members() -> None:
    gains = np.array([[9.0, 1.0, 2.0], [3.0, 9.0, 4.0], [5.0, 6.0, 9.0]])
    assert mean_gain(gains, [[0, 1, 2]]) == pytest.approx(((3 + 5) / 2 + (1 + 6) / 2 + (2 + 4) / 2) / 3)
    assert mean_gain(gains, [[0, 1], [2]]) == pytest.approx((3 + 1) / 3)


def test_many_tasks_are_grouped_where_groups_are_plain() -> None:
    of = np.arange(20) % 4
    gains = np.where(of[:, None] == of, 1.0, -1.0) + 0.1 * RNG.normal(size=(20, 20))
    assert grouping(gains, 4) == [[int(task) for task in np.flatnonzero(of == number)] for number in range(4)]
    assert len(grouping(gains, 2)) == 2
    assert grouping([[0.0]]) == [[0]]


def test_relative_changes_by_hand() -> None:
    alone, mine = np.array([[0.8, 2.0], [0.5, 4.0]]), np.array([[0.88, 1.0], [0.5, 5.0]])
    changes = relative_change(mine, alone, [True, False])
    assert_close(torch.tensor(changes), torch.tensor([[0.1, 0.5], [0.0, -0.25]], dtype=torch.float64))
    found = mean_relative_change(mine, alone, [True, False])
    means = np.array([0.3, -0.125])
    assert found.mean == pytest.approx(means.mean())
    assert found.ci95 == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(means))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_cosines(SeparateNetworks(MLP(4), LIKELIHOODS), None), "share nothing that is trained"),
        (lambda: task_affinity(made("bottom"), None, 0.0), "rate must be positive"),
        (lambda: Watched(made("bottom"), TOGETHER.train, batch_size=8, every=0), "every must be at least 1"),
        (lambda: grouping([[1.0, 2.0]]), r"gains must be \[task, task\]"),
        (lambda: grouping([[0.0, np.nan], [1.0, 0.0]]), r"gains\[0, 1\] is not finite"),
        (lambda: grouping(np.eye(2), 0), "groups must be at least 1"),
        (lambda: mean_gain(np.eye(2), [[0]]), "must have every task"),
        (lambda: relative_change([1.0], [0.0], [True]), "metric of 0"),
        (lambda: relative_change([1.0, 2.0], [1.0], [True]), "alike"),
        (lambda: relative_change([np.nan], [1.0], [True]), "must be finite"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
