from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from quickstudy.tasks import TaskSource, from_tables, read_tables


def tables(
    number: int = 10, columns: int = 5, kind: str = "classification"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every value says which table, row and column it is of: 10,000 table + 10 row + column."""
    made = {}
    for table in range(number):
        rows, wide = 40 + table, columns - table % 2
        x = 10_000.0 * table + 10.0 * np.arange(rows)[:, None] + np.arange(wide)
        y = np.arange(rows) % 3 if kind == "classification" else np.sin(np.arange(rows)) + table
        made[f"table{table}"] = (x, y)
    return made


def source(kind: str = "classification", **options: object) -> TaskSource:
    chosen = {"features": 6, "shots": (4, 12), "queries": 8, "ways": 4, **options}
    return from_tables(tables(kind=kind), kind=kind, **chosen)


def test_a_task_is_rows_of_one_table_each_once() -> None:
    batch = source().train.draw(0, 30, 0)
    for task in range(30):
        rows, of = [], set()
        for part in (batch.support, batch.query):
            x, there = part.x[task, part.mask[task]].unbind(1)
            first = x[there.bool()]
            of |= set((first // 10_000).long().tolist())
            rows += ((x[:, 0] % 10_000) // 10).long().tolist()
        assert len(of) == 1
        assert len(set(rows)) == len(rows)


def test_tables_of_a_split_are_in_no_other() -> None:
    made, seen = source(), {}
    for split in (made.train, made.validation, made.test):
        batch = split.draw(0, 60, 0)
        seen[split.name] = set((batch.query.x[:, 0, 0].amax(1) // 10_000).long().tolist())
    assert len(seen["train"]) == 6
    assert len(set.union(*seen.values())) == 10
    assert sum(map(len, seen.values())) == 10
    assert {f"table{number}" for number in seen["test"]} == set(made.protocol["test tables"])


def test_own_classes_are_renamed_alike_in_support_and_query() -> None:
    batch = source().train.draw(0, 40, 0)
    assert (batch.classes.sum(1) <= 3).all()
    names = set()
    for task in range(40):
        pairs = set()
        for part in (batch.support, batch.query):
            row = (part.x[task, part.mask[task], 0].amax(1).double() % 10_000 // 10).long()
            pairs |= set(zip((row % 3).tolist(), part.y[task, part.mask[task]].tolist(), strict=True))
        assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
        names.add(tuple(sorted(pairs)))
    assert len(names) > 3


def test_any_column_may_be_the_target_and_is_then_no_input() -> None:
    """A column is a line in the number of the row; a table's own target is a wave."""
    batch = source("regression", targets="any").train.draw(0, 60, 0)
    shown, chosen = batch.support.x[:, 0, 1].sum(1).long(), set()
    for task in range(60):
        values = batch.support.x[task, batch.support.mask[task], 0].amax(1).double()
        columns = 5 - int(values[0] // 10_000) % 2
        row = values % 10_000 // 10
        y = batch.support.y[task, batch.support.mask[task]].double()
        line = float(torch.corrcoef(torch.stack([row, y]))[0, 1])
        assert (line > 0.999) == (shown[task] == columns - 1)
        chosen.add(columns - int(shown[task]))
    assert chosen == {0, 1}


def test_columns_are_parted_by_value_into_classes_that_both_parts_share() -> None:
    batch = source(targets="any", ways=4).train.draw(0, 60, 0)
    numbers = batch.classes.sum(1)
    assert set(numbers.tolist()) == {2, 3, 4}
    for task in range(60):
        x = torch.cat([part.x[task, part.mask[task], 0].amax(1) for part in (batch.support, batch.query)])
        y = torch.cat([part.y[task, part.mask[task]] for part in (batch.support, batch.query)])
        ordered = y[x.argsort()]
        changes = int((ordered[1:] != ordered[:-1]).sum())
        own = torch.equal((y == y[0]), ((x.double() % 10_000 // 10) % 3 == (x[0].double() % 10_000 // 10) % 3))
        assert own or changes == numbers[task] - 1  # a class is an interval of the column


def test_for_regression_the_target_is_standardised_by_the_support() -> None:
    batch = source("regression").test.draw(0, 20, 0)
    for y, mask in zip(batch.support.y, batch.support.mask, strict=True):
        assert abs(float(y[mask].mean())) < 1e-5
        assert abs(float(y[mask].std(correction=0)) - 1) < 1e-5


def test_holes_stay_holes_and_unknown_targets_are_left_out() -> None:
    made = tables()
    for x, _ in made.values():
        x[::4, 1] = np.nan
    split = from_tables(made, features=6, shots=8, queries=8, targets="any").train
    batch = split.draw(0, 50, 0)
    assert torch.isfinite(batch.support.x).all()
    holes = (
        batch.support.x[:, :, 1].sum(2) < batch.support.x[:, :, 1].sum(2).amax(1, keepdim=True)
    ) & batch.support.mask
    assert holes.any()
    assert (batch.support.mask.sum(1) < 8).any()


def test_a_stream_is_the_same_however_it_is_cut_and_held_out_tables_are_gone_through() -> None:
    made = source()
    whole, part = made.train.draw(0, 12, 4), made.train.draw(7, 2, 4)
    assert torch.equal(whole.support.x[7:9], part.support.x)
    assert made.train.size is None
    assert made.test.size == 2 * 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"few": (np.zeros((3, 2)), np.arange(3))}, "'few' has 3 rows"),
        ({"one": (np.zeros((9, 2)), np.zeros(9))}, "'one' has 1 classes; there must be 2 to 4"),
        (
            {"odd": (np.zeros((9, 2)), np.zeros(8))},
            r"'odd' must be X \[n, columns\] and y \[n\], got \(9, 2\) and \(8,\)",
        ),
        ({"big": (np.full((9, 2), np.inf), np.arange(9) % 2)}, "'big' has values that are infinite"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_tables(tables() | change, ways=4)


def test_tables_from_a_folder(tmp_path: Path) -> None:
    """Words become the numbers of their values, whatever the file's form; what is missing stays so."""
    frame = pd.DataFrame({"colour": ["red", "blue", None, "red"], "size": [1.5, 2, 3, 4], "kind": ["b", "a", "b", "a"]})
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame.to_csv(tmp_path / "two.tsv.gz", index=False, sep="\t")
    found = read_tables(tmp_path, "kind")
    assert list(found) == ["one", "two"]
    for x, y in found.values():
        np.testing.assert_array_equal(x, [[1, 1.5], [0, 2], [np.nan, 3], [1, 4]])
        assert y.tolist() == ["b", "a", "b", "a"]
    with pytest.raises(ValueError, match="has no column 'knd'; did you mean 'kind'"):
        read_tables(tmp_path, "knd")
    with pytest.raises(FileNotFoundError, match="no table"):
        read_tables(tmp_path / "nothing", "kind")
