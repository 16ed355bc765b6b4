"""Sources of tasks, made from what people bring."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import quickstudy as qs
from quickstudy.tasks import (
    ClassPool,
    EpisodeShape,
    TaskSource,
    from_arrays,
    from_folder,
    from_table,
    pad,
    part_classes,
)

from .promises import kept, modest
from .strategies import absurd, numbers

pytestmark = pytest.mark.unchecked


def drawn(source: TaskSource) -> None:
    """Every split either gives whole tasks or says why it cannot."""
    for name in ("train", "validation", "test"):
        split = kept(lambda name=name: getattr(source, name), "split|ways|class|groups|shots")
        if split is not None:
            split.draw(0, 3, 0).check_values()


arrays = st.sampled_from([
    np.zeros((4, 2)), np.ones((3, 2)), np.zeros((0, 2)), np.zeros(4), np.zeros((4, 0)), np.full((4, 2), np.nan),
    np.array(["a", "b", "c", "d"]), np.zeros((4, 2), dtype=complex), np.array(5.0), [[1], [2, 3]], None, "rows",
    torch.zeros(4, 2), np.full((4, 2), 1e300), np.zeros((4, 2), dtype=bool), [[1, 2]] * 4,
])  # fmt: skip
targets = st.sampled_from([
    np.array([0, 1, 0, 1]), np.array([0.5, 1, 2, 3]), np.array([-1, 0, 1, 2]), np.zeros((4, 2)), np.zeros((4, 2, 2)),
    np.array([0, 1, 2]), np.array([]), np.array(3), np.array([0, 10**15, 1, 1]), [True, False, True, False],
    np.array([2**63, 1, 2, 3], dtype=np.uint64), None, "y", np.array([1e300, 0, 1, 2]), np.array([1j, 0, 1, 2]),
])  # fmt: skip
ARRAYS = {"kind": None, "shots": 0.5, "labels": "shared", "validation": 0.2, "test": 0.2, "seed": 0}


@modest(250)
@given(
    st.lists(st.tuples(arrays, targets), max_size=2), st.sampled_from(sorted(ARRAYS)), absurd | numbers, st.booleans()
)
def test_arrays_become_tasks_or_are_refused(mine: list, name: str, value: object, change: bool) -> None:
    whole = [(np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1]))] * 9
    arguments = {**ARRAYS, name: value} if change else ARRAYS
    tasks = whole[: 9 - len(mine)] + mine
    source = kept(lambda: from_arrays(tasks, **arguments), rf"{name}|task|\bX\b|\by\b|kind|shares?")
    if source is not None:
        drawn(source)


@pytest.mark.parametrize("tasks", [None, 3, [], [1], [(1, 2, 3)], "ab", [("x",)]])
def test_what_are_no_tasks_is_refused(tasks: object) -> None:
    assert kept(lambda: from_arrays(tasks), "tasks?") is None


TABLE = {
    "table": None, "task": "task", "target": "y", "features": ["x"], "kind": None, "shots": 0.5, "labels": "shared",
    "validation": 0.2, "test": 0.2, "seed": 0,
}  # fmt: skip
columns = st.sampled_from([
    np.arange(40.0), np.full(40, np.nan), ["a", "b"] * 20, np.arange(40) % 3, [None] * 40, [np.inf] + [0.0] * 39,
    [1, "a"] * 20, pd.date_range("2020", periods=40), [[1]] * 40, np.full(40, 1e300), np.zeros(40), [True, False] * 20,
])  # fmt: skip


@modest(150)
@given(columns, columns, columns, st.sampled_from(sorted(TABLE)), absurd | numbers, st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_tables_become_tasks_or_are_refused(
    x: object, y: object, task: object, name: str, value: object, change: bool
) -> None:
    frame = pd.DataFrame({"x": x, "y": y, "task": task})
    arguments = {**TABLE, "table": frame, **({name: value} if change else {})}
    source = kept(lambda: from_table(**arguments), rf"{name}|column|target|task|table|features")
    if source is not None:
        drawn(source)


FOLDER = {"size": 8, "colour": "RGB", "validation": 0.2, "test": 0.2, "seed": 0}


@modest(60)
@given(st.sampled_from(["root", *sorted(FOLDER)]), (absurd | numbers).filter(lambda value: value != 10**12))
def test_folders_become_pools_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    root = tmp_path_factory.getbasetemp() / "images"
    for number in range(6):
        (root / str(number)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(root / str(number) / "one.png")
    if name == "root" and isinstance(value, str):
        return  # a folder's name may be anything
    pool = kept(lambda: from_folder(**{"root": root, **FOLDER, name: value}), rf"{name}|fractions|folder|split")
    if pool is not None:
        drawn(pool.episodes(1, 0, 1))


def pool() -> ClassPool:
    parts = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    return ClassPool.from_labels(torch.arange(16.0)[:, None], np.arange(16) % 4, list("abcd"), parts)


POOL = {
    "examples": torch.zeros(4, 2), "labels": [0, 1, 2, 3], "names": list("abcd"),
    "parts": {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}, "groups": np.zeros(4, dtype=np.int64),
}  # fmt: skip


@modest(120)
@given(
    st.sampled_from(sorted(POOL)),
    absurd | st.sampled_from([torch.zeros(3), torch.zeros(()), [0, 1, 2, 9], [0.5] * 4, ["a"] * 4, {"train": ["a"]},
                              {"train": ["z"], "validation": ["c"], "test": ["d"]}, np.zeros(2), [-1] * 4]),
)  # fmt: skip
def test_pools_are_made_or_refused(name: str, value: object) -> None:
    made = kept(lambda: ClassPool.from_labels(**{**POOL, name: value}), rf"{name}|split|class|labels|groups|parts")
    if made is not None:
        drawn(made.episodes(1, 0, 1))


@modest(150)
@given(absurd | numbers, absurd | numbers, absurd | numbers)
def test_episodes_of_any_shape(ways: object, shots: object, queries: object) -> None:
    source = kept(lambda: pool().episodes(ways, shots, queries), "ways|shots|queries")
    if source is not None:
        drawn(source)
    kept(lambda: EpisodeShape(ways, shots, queries), "ways|shots|queries")


@modest(80)
@given(absurd | numbers, absurd | numbers, absurd | numbers)
def test_long_tails_and_parts(one: object, two: object, three: object) -> None:
    tailed = kept(lambda: pool().long_tailed(one, two), "exponent|minimum")
    if tailed is not None:
        assert (tailed.table >= -1).all()
    kept(lambda: pool().only(one, ["c"]), "split")
    kept(lambda: pool().only("test", one), "names|class")
    kept(lambda: part_classes(list("abcdefgh"), (one, two), three), "fractions|seed|validation|test")
    kept(lambda: pad(one), "trees")


def test_the_source_of_no_task_at_all(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "broken.png").write_bytes(b"no image")
    assert kept(lambda: from_folder(tmp_path), "broken.png") is None
    assert kept(lambda: qs.Examples.of(None, None), r"\by\b") is None
