"""A log of JSON lines that a resumed run continues as if it had never stopped."""

import json
from pathlib import Path
from typing import Any

from quickstudy.files import write_text

__all__ = ["Log", "read_log"]


class Log:
    """Lines of JSON, each with the number of steps done when it was written.

    Args:
        path: the file; None keeps nothing.
        done: the steps after which the run continues; later lines, of work that was lost, are dropped.
    """

    def __init__(self, path: Path | None, done: int) -> None:
        self._path = path
        if path is not None:
            kept = [line for line in read_log(path) if line["step"] <= done] if done and path.exists() else []
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, **values: Any) -> None:
        """Add a line."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


def read_log(path: Path | str) -> list[dict[str, Any]]:
    """The lines of a log; a last line that was cut off in writing is left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
