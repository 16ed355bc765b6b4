"""Factorization against its formula, and in what it must refuse."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import BPR, Factorization, SharedBatch
from quickstudy.tasks import Categorical, Gaussian

USERS, ITEMS = 5, 7
TASKS = {"stars": Gaussian(), "watch": BPR(), "genre": Categorical(3)}
X = {
    "user": torch.tensor([[0, 4, 2]]),
    "item": torch.tensor([[6, 1, 1]]),
    "other": torch.tensor([[0, 3, 5]]),
}
Y = {"stars": torch.tensor([[4.0, 1.0, 3.0]]), "watch": torch.ones(1, 3), "genre": torch.tensor([[2, 0, 1]])}
MASK = {task: torch.ones(1, 3, dtype=torch.bool) for task in TASKS}


def module(shared: bool) -> Factorization:
    torch.manual_seed(0)
    made = Factorization(USERS, ITEMS, TASKS, 4, (6,), shared)
    torch.nn.init.normal_(made.bias)
    return made


@pytest.mark.parametrize("shared", [True, False])
def test_it_computes_what_the_formula_says(shared: bool) -> None:
    made = module(shared)
    users, items = (X[name][0] for name in ("user", "item"))
    u, q = made.user[0].weight, made.item[0].weight
    table = u @ q.T + made.bias
    difference = table[users, items] - table[users, X["other"][0]]
    assert_close(made.predict("watch", X).logits[0], difference)  # type: ignore[attr-defined]
    assert_close(made.ranking(torch.arange(USERS)), table)
    e, f = made.user[-1].weight[users], made.item[-1].weight[items]
    inputs = torch.cat([e, f, e * f], 1)
    first, last = made.heads.layers  # type: ignore[attr-defined]
    for number, task in enumerate(("stars", "genre")):
        hidden = F.relu(inputs @ first.weight[number] + first.bias[number])
        raw = hidden @ last.weight[number] + last.bias[number]
        got = made.predict(task, {name: X[name] for name in ("user", "item")})
        if task == "stars":
            assert_close(got.mean[0], raw[:, 0])
        else:
            assert_close(got.probs[0], raw.softmax(-1))  # type: ignore[attr-defined]
    loss = made(SharedBatch(X, Y, MASK, {task: torch.tensor([3.0]) for task in TASKS}))
    assert list(loss) == list(TASKS)
    assert_close(loss["watch"], F.softplus(-difference).mean())


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_shared(shared: bool) -> None:
    made = module(shared)
    tables = {id(leaf) for leaf in [*made.user.parameters(), *made.item.parameters()]}
    assert {id(leaf) for leaf in made.shared_parameters()} == (tables if shared else set())
    assert len(tables) == (2 if shared else 4)
    loss = made(SharedBatch(X, Y, MASK, {task: torch.tensor([3.0]) for task in TASKS}))
    mine, other = torch.autograd.grad(loss["stars"], [made.user[-1].weight, made.user[0].weight])
    assert mine.any()
    assert bool(other.any()) == shared


def test_it_is_saved(tmp_path: Path) -> None:
    made = module(False)
    qs.save(made, tmp_path / "module")
    batch = SharedBatch(X, Y, MASK, {task: torch.tensor([3.0]) for task in TASKS})
    assert_close(qs.load(tmp_path / "module")(batch), made(batch))


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="likelihoods must have exactly one task with BPR, got none"):
        Factorization(USERS, ITEMS, {"stars": Gaussian()})
    with pytest.raises(ValueError, match="exactly one task with BPR, got a, b"):
        Factorization(USERS, ITEMS, {"a": BPR(), "b": BPR()})
    with pytest.raises(ValueError, match="embedding must be at least 1, got 0"):
        Factorization(USERS, ITEMS, TASKS, 0)
    with pytest.raises(ValueError, match=r"x\['item'\] has the number 7, but there are 7 categories"):
        module(True).predict("stars", X | {"item": X["item"] + 1})
    with pytest.raises(ValueError, match="x must have a tensor for the field 'other'; it has user, item"):
        module(True).predict("watch", {name: X[name] for name in ("user", "item")})
    with pytest.raises(ValueError, match=r"x\['user'\] has the number 5, but there are 5"):
        module(True).ranking(torch.tensor([5]))


def test_only_pairs_can_be_learned() -> None:
    made = Factorization(USERS, ITEMS, {"watch": BPR()}, 4)
    assert made.predict("watch", X).logits.shape == (1, 3)  # type: ignore[attr-defined]
