"""Whether what balancing methods solve their problems with is installed."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_solvers"]


def check_solvers(methods: Mapping[str, Callable[[], Any]]) -> None:
    """Make every method once, so that a solver that is missing is met before the first step.

    Raises:
        ValueError: one is missing; the message says how to get it.
    """
    try:
        for method in methods.values():
            method()
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'quickstudy[balancing]' brings all solvers") from error
