"""Arguments that are numbers: one of another type, or one that no number can stand for, is refused by its name.

Python compares True with 1 and multiplies a text by three; the error would come late, and from somewhere else. Ranges
are checked where they are known, by whoever takes the argument.
"""

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["check_flag", "check_real", "check_seed", "check_whole"]

# The kernels of torch count in 32 bits: what is larger is a mistake, and would be an error about memory later.
_MOST = 2**31 - 1


def check_whole(**values: Any) -> None:
    """Refuse what is no whole number (None may stand for "not given": leave it out).

    Raises:
        TypeError: one is of another type; True and False are no numbers here.
        ValueError: one is beyond ±2³¹.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if abs(int(value)) > _MOST:
            raise ValueError(f"{name} must be a whole number below 2³¹, got {value}")


def check_seed(seed: Any) -> None:
    """Refuse what is no seed; one may have any size.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be a whole number, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")


def check_real(**values: Any) -> None:
    """Refuse what is no finite real number.

    Raises:
        TypeError: one is of another type; True and False are no numbers here.
        ValueError: one is NaN or infinite.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")


def check_flag(**values: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: one is of another type.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
