import pytest
import torch
from torch.utils._pytree import tree_flatten

from quickstudy.tasks import Examples, TaskBatch, pad


def batch(tasks: int = 3, classes: bool = True) -> TaskBatch:
    support = Examples.of(torch.randn(tasks, 4, 2), torch.randint(0, 3, (tasks, 4)))
    query = Examples.of(torch.randn(tasks, 5, 2), torch.randint(0, 3, (tasks, 5)))
    return TaskBatch(support, query, torch.ones(tasks, 3, dtype=torch.bool) if classes else None)


def test_selecting_tasks_keeps_the_axis() -> None:
    tasks = batch()
    assert tasks[1].tasks == 1
    assert torch.equal(tasks[1].query.x[0], tasks.query.x[1])
    assert tasks[[2, 0]].tasks == 2
    assert torch.equal(tasks[torch.tensor([2, 0])].support.y[1], tasks.support.y[0])


def test_inert_replaces_what_stood_in_the_padding_and_only_that() -> None:
    examples = Examples(
        {"image": torch.full((1, 3, 2), torch.nan), "age": torch.ones(1, 3)},
        torch.ones(1, 3).long(),
        torch.tensor([[True, False, False]]),
    )
    clean = examples.inert()
    assert clean.x["image"][0, 0].isnan().all()
    assert (clean.x["image"][0, 1:] == 0).all()
    assert clean.x["age"].tolist() == [[1, 0, 0]]
    assert clean.y.tolist() == [[1, 0, 0]]
    assert examples.x["image"].isnan().all()  # the original is left alone


def test_batches_are_pytrees() -> None:
    leaves, _ = tree_flatten(batch())
    assert len(leaves) == 7
    assert len(tree_flatten(batch(classes=False))[0]) == 6
    sums = torch.vmap(lambda task: task.support.x.sum())(batch())
    assert sums.shape == (3,)


def test_pad_stacks_uneven_trees() -> None:
    trees = [{"a": torch.ones(2, 3), "b": torch.ones(2)}, {"a": torch.ones(4, 3), "b": torch.ones(4)}]
    padded, mask = pad(trees, 5)
    assert padded["a"].shape == (2, 5, 3)
    assert mask.sum(1).tolist() == [2, 4]
    assert padded["b"].sum(1).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("trees", "length", "message"),
    [
        ([], None, "trees is empty"),
        ([torch.ones(3)], 2, "length is 2, but a task has 3"),
        ([torch.ones(2, 3), torch.ones(2, 4)], None, "differ in shape"),
    ],
)
def test_pad_refuses(trees: list, length: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad(trees, length)


def broken(**changes: object) -> TaskBatch:
    tasks = batch()
    for name, value in changes.items():
        part, _, field = name.partition("_")
        if field:
            setattr(getattr(tasks, part), field, value)
        else:
            setattr(tasks, part, value)
    return tasks


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"support_mask": torch.ones(3, 4)}, TypeError, "support.mask must be a bool tensor"),
        ({"support_x": torch.ones(3, 3, 2)}, ValueError, r"support.x has the shape \(3, 3, 2\)"),
        ({"query_y": [1, 2]}, TypeError, "query.y must hold tensors, got int"),
        ({"support": batch(2).support}, ValueError, "same number of tasks"),
        ({"classes": torch.ones(3, 3)}, TypeError, "classes must be a bool tensor"),
        ({"query_x": torch.full((3, 5, 2), torch.inf)}, ValueError, "query.x has a value that is not finite in task 0"),
        ({"query_y": torch.full((3, 5), 7)}, ValueError, "query.y is 7 for example 0 of task 0"),
        ({"query_y": torch.zeros(3, 5)}, TypeError, "class numbers"),
        (
            {"classes": torch.tensor([[True, True, True]] * 2 + [[False] * 3])},
            ValueError,
            "classes are all False for task 2",
        ),
    ],
)
def test_malformed_batches_are_named(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        broken(**changes).check_values()


def test_garbage_in_padding_is_no_error() -> None:
    tasks = batch()
    tasks.support.mask[0, 2:] = False
    tasks.support.x[0, 2:] = torch.nan
    tasks.support.y[0, 2:] = 99
    tasks.check_values()
