import collections
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from quickstudy.tasks.datasets.pickles import read_pickle

from .small import python2

ARRAYS = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big-endian": np.arange(5, dtype=">i4"),
    "floats": np.linspace(0, 1, 7),
    "one number": np.array(3.5),
    "empty": np.zeros((0, 3), np.float32),
    "truths": np.array([True, False]),
    "texts": np.array(["crane", "jay"]),
}


def read(content: bytes) -> object:
    return read_pickle(io.BytesIO(content), "small.pkl")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_protocol(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    found = read(pickle.dumps({"data": array, "again": [array, (array,)]}, protocol))
    for each in (found["data"], found["again"][0], found["again"][1][0]):
        assert each.dtype == array.dtype
        assert np.array_equal(each, array)


def test_plain_containers_and_numbers() -> None:
    members = collections.defaultdict(list, {"a": [1, 2]})
    value = {"members": members, "order": collections.OrderedDict(b=1), "n": np.int64(7), "set": {3}, "raw": b"\xff"}
    for protocol in (2, 4, 5):
        assert read(pickle.dumps(value, protocol)) == {
            "members": {"a": [1, 2]},
            "order": {"b": 1},
            "n": 7,
            "set": {3},
            "raw": b"\xff",
        }


def test_files_of_python_2() -> None:
    found = read(python2({"data": ARRAYS["bytes"], "names": ["aigle\xe9"], "of": ARRAYS["floats"]}))
    assert np.array_equal(found["data"], ARRAYS["bytes"])
    assert np.array_equal(found["of"], ARRAYS["floats"])
    assert found["names"] == ["aigle\xe9"]


def test_arrays_of_objects_are_lists() -> None:
    ragged = np.empty(2, dtype=object)
    ragged[0], ragged[1] = np.arange(3, dtype=np.uint8), np.arange(5, dtype=np.uint8)
    assert [each.tolist() for each in read(pickle.dumps(ragged))] == [[0, 1, 2], [0, 1, 2, 3, 4]]


class Calls:
    """Pickled as a call."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


HARMFUL = {
    "system": (Calls(os.system, "touch harmed"), "names posix.system"),
    "eval": (Calls(eval, "1 + 1"), "names builtins.eval"),
    "nested": ({"data": [np.zeros(3), Calls(os.mkdir, "harmed")]}, "names posix.mkdir"),
    "attribute": (Calls(getattr, {}, "pop"), "builtins.getattr"),
    "structure": (np.zeros(2, dtype=[("a", "i4"), ("b", "O")]), "array of 'V12'|structured"),
    "date": (np.array(["2020-01-01"], dtype="datetime64[D]"), "array of 'M8'"),
    "a class": (np.ndarray, "holds a name"),
    "path": (Path("x"), "names pathlib"),
}


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_else_is_made(name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value, message = HARMFUL[name]
    content = pickle.dumps(value, protocol)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"small.pkl cannot be read as a pickle of arrays: .*({message})"):
        read(content)
    assert list(tmp_path.iterdir()) == []


def test_an_object_in_the_place_of_bytes_is_refused() -> None:
    """The bytes of an array of objects would be taken for addresses."""
    raw = np.arange(2, dtype=np.int64)
    function, arguments, (version, shape, _, fortran, buffer) = raw.__reduce__()
    state = (version, shape, np.dtype(object), fortran, buffer)
    with pytest.raises(ValueError, match="array of objects that is no list"):
        read(pickle.dumps(Calls(function, *arguments, state=state)))


@pytest.mark.parametrize("operation", ["build", "new"])
def test_stand_ins_are_only_called(operation: str) -> None:
    name = b"\x80\x02cnumpy\nndarray\n"
    content = name + (b"}b." if operation == "build" else b")\x81.")
    with pytest.raises(ValueError, match="cannot be read as a pickle of arrays"):
        read(content)


def test_what_is_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    content = pickle.dumps({"data": np.arange(50, dtype=np.uint8), "names": ["a", "b"]}, 2)
    path = tmp_path / "train"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="train cannot be read as a pickle of arrays"):
            read_pickle(path)
    path.write_bytes(content)
    assert read_pickle(path)["names"] == ["a", "b"]


def test_bytes_that_do_not_fill_the_shape() -> None:
    function, arguments, (version, _, dtype, fortran, buffer) = np.arange(4).__reduce__()
    state = (version, (1000,), dtype, fortran, buffer)
    with pytest.raises(ValueError, match="cannot reshape"):
        read(pickle.dumps(Calls(function, *arguments, state=state)))


def test_a_list_in_itself() -> None:
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="cannot be read"):
        read(pickle.dumps(endless))
