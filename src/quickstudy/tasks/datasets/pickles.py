"""Pickled arrays, read without running anything that the file asks for.

Some publishers serve data pickled, and a pickle may name any function of any module to be called when it is read. Here
every name is answered by a stand-in of our own, which makes numpy arrays and plain containers and nothing else; numpy's
own functions for that are not called either, since some of what a file may hand them corrupts memory.
"""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_pickle"]

_PLAIN = re.compile(r"[biufSU]\d+|\?|O\d*")  # numbers, text and objects; no structures


def read_pickle(file: Path | io.BufferedIOBase, name: str = "") -> Any:
    """What a pickle holds, if that is numbers, texts, numpy arrays, and lists, tuples, sets and dicts of such.

    Texts of Python 2 are read as Latin-1. Arrays of objects come back as lists.

    Args:
        file: the pickle, by its path or open.
        name: how errors call an open file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut off, is no pickle, or holds something else (which is not made).
    """
    if isinstance(file, Path):
        with open(file, "rb") as opened:
            return read_pickle(opened, str(file))
    try:
        return _filled(_Reader(file, encoding="latin1").load())
    except Exception as error:  # damaged opcodes raise whatever they happen to run into
        raise ValueError(f"{name} cannot be read as a pickle of arrays: {error or type(error).__name__}") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Python 2 had other names for two modules, and numpy 2 for one.
        module = module.replace("__builtin__", "builtins").replace("numpy._core", "numpy.core")
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array or plain container")
        return _StandIn(_STAND_INS[module, name])


class _StandIn:
    """A name in a pickle. It can be called and nothing else: not instantiated, and given no attributes."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Dtype:
    """A dtype; its byte order follows as its state."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not _PLAIN.fullmatch(code):
            raise pickle.UnpicklingError(f"it has an array of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure):
            raise pickle.UnpicklingError("it has a structured array")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array; its contents follow as its state."""

    __slots__ = ("values",)

    def __init__(self, *arguments: Any) -> None:
        self.values: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self.values = _from_buffer(raw, kind, shape, "F" if fortran else "C").values


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any = "C") -> _Array:
    array = _Array()
    if not isinstance(kind, _Dtype):
        raise pickle.UnpicklingError("it has an array without a dtype")
    if kind.dtype == object:
        if not isinstance(raw, list) or len(shape) != 1 or len(raw) != shape[0]:
            raise pickle.UnpicklingError("it has an array of objects that is no list")
        array.values = raw
    else:
        array.values = np.frombuffer(_bytes(raw), kind.dtype).reshape(shape, order=order)
    return array


def _scalar(kind: _Dtype, raw: Any) -> Any:
    if kind.dtype == object:
        raise pickle.UnpicklingError("it has a number that is an object")
    return np.frombuffer(_bytes(raw), kind.dtype)[0]


def _bytes(raw: Any) -> bytes | bytearray:
    """Python 2 wrote bytes as text."""
    return raw.encode("latin1") if isinstance(raw, str) else raw


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): lambda *text: _bytes(text[0]),  # how Python 3 writes bytes for Python 2
    ("builtins", "bytes"): lambda *raw: _bytes(raw[0]) if raw else b"",
    ("builtins", "bytearray"): lambda *raw: _bytes(raw[0]) if raw else b"",
    ("builtins", "set"): set,
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("collections", "OrderedDict"): dict,
    ("collections", "defaultdict"): lambda *_: {},
}


def _filled(value: Any) -> Any:
    """`value` with the arrays themselves in the place of what held them while reading."""
    if isinstance(value, _Array):
        return _filled(value.values)
    if isinstance(value, _Dtype | _StandIn):
        raise pickle.UnpicklingError("it holds a name")
    if isinstance(value, dict):
        return {key: _filled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(item) for item in value)
    return value
