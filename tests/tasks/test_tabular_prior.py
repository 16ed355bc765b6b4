import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from quickstudy.tasks import TaskBatch, tabular_prior


def rows(batch: TaskBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and where there are some, of support and query."""
    x = torch.cat([batch.support.x, batch.query.x], 1)
    return x[:, :, 0], x[:, :, 1]


def test_a_task_is_the_same_however_it_is_drawn() -> None:
    split = tabular_prior().train
    together, alone = split.draw(3, 6, 1), split.draw(7, 1, 1)
    for part in ("support", "query"):
        mine, theirs = getattr(together, part), getattr(alone, part)
        assert torch.equal(mine.x[4:5], theirs.x)
        assert torch.equal(mine.y[4:5], theirs.y)
    assert torch.equal(together.classes[4:5], alone.classes)
    assert not torch.equal(split.draw(7, 1, 2).query.x, alone.query.x)
    assert not torch.equal(tabular_prior().test.draw(7, 1, 1).query.x, alone.query.x)


def test_sizes_are_those_that_were_asked_for() -> None:
    batch = tabular_prior(features=(3, 9), shots=(20, 40), queries=7, ways=(2, 6)).train.draw(0, 300, 0)
    batch.check()
    value, there = rows(batch)
    assert value.shape == (300, 47, 9)
    assert set(there.unique().tolist()) == {0.0, 1.0}
    assert (value[there == 0] == 0).all()
    columns = (there.sum(1) > 0).sum(1)
    assert (int(columns.min()), int(columns.max())) == (3, 9)
    # Those that a table does not have are the last ones.
    assert ((there.sum(1) > 0).long().diff(dim=1) <= 0).all()
    support = batch.support.mask.sum(1)
    assert (int(support.min()), int(support.max())) == (20, 40)
    ways = batch.classes.sum(1)
    assert (int(ways.min()), int(ways.max())) == (2, 6)
    assert batch.query.mask.all()


def test_classes_are_shuffled_and_of_unequal_size() -> None:
    batch = tabular_prior(shots=100, queries=100, ways=3).train.draw(0, 400, 0)
    counts = torch.stack([(batch.query.y == label).sum(1) for label in range(3)], 1).double() / 100
    # No class number is larger than another; within a table they are.
    assert (counts.mean(0) - 1 / 3).abs().max() < 0.05
    assert (counts.amax(1) - counts.amin(1)).mean() > 0.2
    assert (counts > 0).double().mean() > 0.95


def test_some_tables_have_holes_words_and_causes() -> None:
    batch = tabular_prior(features=12, shots=100, queries=28).train.draw(0, 200, 0)
    value, there = rows(batch)
    missing = 1 - there.mean((1, 2))
    assert 0.4 < (missing == 0).double().mean() < 0.6
    assert 0.2 < missing.max() <= 0.35
    few = torch.tensor([[len(column.unique()) <= 9 for column in table.T] for table in value]).double()
    assert 0.05 < few.mean() < 0.5
    assert (few.sum(1) == 0).double().mean() > 0.3


def test_there_is_something_to_learn() -> None:
    """A forest that is told which rows are of which class does better on the others than the largest class."""
    split, found, guessed = tabular_prior(features=10, shots=100, queries=100, ways=2).train, [], []
    for task in range(20):
        batch = split.draw(task, 1, 0)
        forest = RandomForestClassifier(30, random_state=0).fit(batch.support.x[0].flatten(1), batch.support.y[0])
        found.append(forest.score(batch.query.x[0].flatten(1), batch.query.y[0]))
        guessed.append((batch.support.y[0].mode().values == batch.query.y[0]).double().mean().item())
    assert np.mean(found) > np.mean(guessed) + 0.05


def test_targets_are_standardised_by_the_support() -> None:
    batch = tabular_prior("regression", shots=(10, 50)).train.draw(0, 100, 0)
    batch.check()
    y, mask = batch.support.y, batch.support.mask
    mean = (y * mask).sum(1) / mask.sum(1)
    spread = (((y - mean[:, None]) * mask).square().sum(1) / mask.sum(1)).sqrt()
    usual = spread > 0.1  # a few have one value, or an outlier that is cut
    assert usual.double().mean() > 0.9
    assert (mean[usual].abs() < 0.2).all()
    assert ((spread[usual] - 1).abs() < 0.3).all()
    assert batch.classes is None


@pytest.mark.unchecked  # the checker of signatures would refuse some of these first
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "binary"}, "kind must be 'classification' or 'regression', got 'binary'"),
        ({"features": (0, 3)}, "features must lie in 1 … "),
        ({"features": 100}, "features must lie in 1 … "),
        ({"shots": 3}, "shots must be at least 8"),
        ({"queries": 0}, "queries at least 1"),
        ({"ways": 1}, "ways must be at least 2"),
        ({"ways": 9, "shots": 8}, "ways must not exceed the least number of shots, 8, got 9"),
    ],
)
def test_refusals(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tabular_prior(**arguments)
