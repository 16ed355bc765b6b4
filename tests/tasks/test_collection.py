import numpy as np
import pytest
import torch

from quickstudy.tasks import from_arrays


def arrays(count: int = 15, classes: bool = True, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Uneven tasks whose inputs say which task and which example they are."""
    generator = np.random.default_rng(seed)
    tasks = []
    for number in range(count):
        n = int(generator.integers(2, 30))
        x = np.stack([np.full(n, number), np.arange(n), generator.normal(size=n)], 1)
        y = generator.integers(0, 3, n) if classes else generator.normal(size=n)
        tasks.append((x, y))
    return tasks


def test_tasks_are_held_out_whole() -> None:
    source = from_arrays(arrays())
    seen = {}
    for name in ("train", "validation", "test"):
        split = getattr(source, name)
        batch = split.draw(0, split.size, 0)
        seen[name] = set(batch.query.x[..., 0][batch.query.mask].tolist())
        assert len(seen[name]) == split.size
    assert sum(map(len, seen.values())) == 15
    assert len(set.union(*seen.values())) == 15
    assert {name: len(tasks) for name, tasks in seen.items()} == source.protocol["tasks"]


def test_every_example_is_in_support_or_query_once() -> None:
    tasks = arrays()
    source = from_arrays(tasks, shots=0.3)
    batch = source.train.draw(0, source.train.size, 4)
    for row in range(batch.tasks):
        task = batch[row]
        support = task.support.x[0][task.support.mask[0]]
        query = task.query.x[0][task.query.mask[0]]
        number = int(query[0, 0])
        together = sorted(torch.cat([support, query])[:, 1].tolist())
        assert together == list(range(len(tasks[number][0])))
        assert len(support) == int(0.3 * len(together))


def test_parting_changes_with_the_draw_and_repeats_with_its_number() -> None:
    source = from_arrays(arrays())
    size = source.train.size
    first, again = source.train.draw(0, size, 0), source.train.draw(0, size, 0)
    assert torch.equal(first.support.x, again.support.x)
    later = source.train.draw(size, size, 0)
    assert sorted(first.query.x[:, 0, 0].tolist()) == sorted(later.query.x[:, 0, 0].tolist())
    assert not torch.equal(first.query.x[:, 0, 0], later.query.x[:, 0, 0])  # another round, another order


def test_shots_may_be_a_number() -> None:
    batch = from_arrays(arrays(), shots=5).train.draw(0, 8, 0)
    sizes = batch.support.count + batch.query.count
    assert torch.equal(batch.support.count, sizes.sub(1).clamp(max=5))


def test_padded_lengths_are_few() -> None:
    source = from_arrays([(np.zeros((n, 2)), np.zeros(n)) for n in range(2, 80)], kind="regression")
    lengths = {source.train.draw(first, 1, 0).query.mask.shape[1] for first in range(source.train.size)}
    assert len(lengths) <= 4


def test_shared_labels_keep_their_meaning() -> None:
    source = from_arrays([(np.eye(3)[[0, 1, 2, 0, 1, 2]], [0, 1, 2, 0, 1, 2])] * 9)
    batch = source.train.draw(0, 9, 0)
    assert torch.equal(batch.support.x.argmax(-1), batch.support.y)
    assert batch.classes.all()


def test_a_class_that_a_task_does_not_show_is_not_given_away() -> None:
    tasks = [(np.zeros((4, 1)), [0, 0, 0, 0])] * 8 + [(np.zeros((4, 1)), [0, 1, 0, 1])] * 4
    assert from_arrays(tasks).train.draw(0, 6, 0).classes.all()


def test_own_labels_are_shuffled_anew() -> None:
    source = from_arrays([(np.eye(3)[[0, 1, 2, 0, 1, 2]], [0, 1, 2, 0, 1, 2])] * 30, labels="own")
    batch = source.train.draw(0, 300, 0)
    batch.check_values()
    meaning = torch.stack(
        [batch.query.y[batch.query.x.argmax(-1) == c].bincount(minlength=3) for c in range(3)]
    ).float()
    assert (meaning / meaning.sum(1, keepdim=True) - 1 / 3).abs().max() < 0.1
    for task in range(20):  # but within a task a class has one number
        pairs = set(zip(batch.query.x[task].argmax(-1).tolist(), batch.query.y[task].tolist(), strict=True))
        pairs |= set(zip(batch.support.x[task].argmax(-1).tolist(), batch.support.y[task].tolist(), strict=True))
        assert len(pairs) == 3


def test_regression_is_recognised() -> None:
    source = from_arrays(arrays(classes=False))
    assert source.train.kind == "regression"
    batch = source.train.draw(0, 2, 0)
    assert batch.classes is None
    assert batch.query.y.dtype == torch.float32
    assert from_arrays(arrays(), kind="regression").train.draw(0, 1, 0).query.y.dtype == torch.float32


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (arrays(2), {}, "leave a split empty"),
        ([(np.zeros((3, 2)), [0, 1])] * 9, {}, "X and y of task 0 must be as long"),
        ([(np.full((3, 2), np.nan), [0, 1, 0])] * 9, {}, "X of task 0 has a value that is not finite"),
        ([(np.zeros((0, 2)), [])] * 9, {}, "task 0 has no examples"),
        ([(np.zeros((2, 2)), [0, -1])] * 9, {}, "y of task 0 has the class number -1"),
        ([*arrays(8), (np.zeros((3, 2)), [0, 1, 0])], {}, "examples of one form"),
        (arrays(classes=False), {"kind": "classification"}, "some y hold real numbers"),
        ([(np.zeros((2, 2)), np.zeros((2, 1), int))] * 9, {}, r"y of task 0 must be class numbers \[n\]"),
        ([(np.zeros((2, 2)), np.zeros((2, 1, 1)))] * 9, {}, r"y of task 0 must be \[n\] or \[n, targets\]"),
        (arrays(), {"labels": "mine"}, "labels must be 'shared' or 'own', got 'mine'"),
        (arrays(), {"shots": 1.5}, "shots must be a share below 1 or a whole number"),
        (arrays(), {"kind": "ranking"}, "kind must be 'classification' or 'regression'"),
    ],
)
def test_bad_input_is_named(tasks: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(tasks, **options)


def test_text_is_refused() -> None:
    with pytest.raises(TypeError, match="X of task 0 must hold real numbers"):
        from_arrays([(np.array([["a"], ["b"]]), [0, 1])] * 9)
