"""What everyone checks who is asked to look at numbered tasks of a split."""

from typing import Any

from quickstudy.arguments import check_whole
from quickstudy.tasks.source import Split

__all__ = ["check_asked"]


def check_asked(split: Any, **numbers: Any) -> None:
    """Refuse what is no split, and numbers that leave nothing to do.

    Args:
        split: of which tasks are drawn.
        numbers: by their names, such as `tasks` and `batch_size`.

    Raises:
        TypeError: `split` is none, or a number is no whole number.
        ValueError: a number is below one.
    """
    if not isinstance(split, Split):
        raise TypeError(f"split must be a Split such as source.test, got {type(split).__name__}")
    check_whole(**numbers)
    if min(numbers.values()) < 1:
        raise ValueError(f"{_listed(numbers)} must be at least 1, got {_listed(numbers.values())}")


def _listed(things: Any) -> str:
    *others, last = map(str, things)
    return f"{', '.join(others)} and {last}" if others else last
