"""Tables of a Markdown file, filled from result cards: `python -m quickstudy.reporting.readme README.md results`.

Between `<!-- card: NAME -->` and `<!-- end of card -->` stands what the card `NAME.json` says, and nothing written by
hand; between `<!-- answers: NAME NAME … -->` and `<!-- end of answers -->` what several say in a sentence each.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickstudy.files import write_text
from quickstudy.reporting.cards import entries, read_card
from quickstudy.reporting.headline import compared_by
from quickstudy.reporting.tables import metric_cell

__all__ = ["answers", "fill", "main", "markdown"]

_BLOCK = re.compile(r"(<!-- card: (\S+) -->\n).*?(<!-- end of card -->)", re.DOTALL)
_ANSWERS = re.compile(r"(<!-- answers: ([^>]*) -->\n).*?(<!-- end of answers -->)", re.DOTALL)


def fill(text: str, folder: Path) -> str:
    """`text` with every block filled from the cards in `folder`.

    Raises:
        FileNotFoundError: a block names a card that does not exist.
    """
    text = _BLOCK.sub(lambda match: match[1] + markdown(read_card(folder / f"{match[2]}.json")) + match[3], text)
    return _ANSWERS.sub(
        lambda match: match[1] + answers([read_card(folder / f"{name}.json") for name in match[2].split()]) + match[3],
        text,
    )


def answers(cards: Sequence[Mapping[str, Any]]) -> str:
    """A row per card: what it was to show, and what came out."""
    rows = [f"| {card['claim']} | {card['verdict']} | `{card['recipe']}` |" for card in cards]
    return "\n".join(["| expected | found | recipe |", "| --- | --- | --- |", *rows, ""])


def markdown(card: Mapping[str, Any]) -> str:
    """A card as a Markdown table, with the command that makes it.

    Raises:
        ValueError: the card lacks something.
    """
    try:
        return _markdown(card)
    except KeyError as error:
        raise ValueError(f"the card lacks {error}; make it again with the command that made it") from error


def _markdown(card: Mapping[str, Any]) -> str:
    rows = _benchmark(card) if "benchmark" in card else _experiment(card)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    where = card["machine"]
    machine = f"{where['cores']} × {where['cpu']}" + (f", {where['gpu']}" if where["gpu"] else "")
    seeds = f"; seeds {', '.join(map(str, card['seeds']))}" if card.get("seeds") else ""
    foot = f"`{card['command']}`{seeds}; {machine}, torch {where['torch']}"
    return "\n".join([*lines, "", foot, ""])


def _experiment(card: Mapping[str, Any]) -> list[list[str]]:
    """A row per learner, a column per protocol, of the metric that is compared."""
    metric = compared_by(card)
    shown: dict[str, str] = {}
    for name in card["metrics"]:
        protocol, _, other = name.rpartition(".")
        shown[protocol] = metric if other == metric else shown.get(protocol, other)
    unit = {"accuracy": "accuracy, %", "mse": "mean squared error"}.get(metric, metric)
    columns = [
        (protocol if by == metric else f"{protocol} ({by})", f"{protocol}.{by}") for protocol, by in shown.items()
    ]
    # Those that predict queries together are scored so, too.
    known = {name for entry in entries(card).values() for name in entry["metrics"]}
    joint = [(f"{protocol}, together", f"{protocol}.joint_{metric}") for protocol in shown]
    columns += [column for column in joint if column[1] in known]
    rows = [[unit, *(head for head, _ in columns), "training seconds"]]
    for name, entry in entries(card).items():
        cells = [metric_cell(key.rpartition(".")[2], entry["metrics"].get(key)) for _, key in columns]
        rows.append([name, *cells, f"{entry['seconds']:.0f}"])
    return rows


def _benchmark(card: Mapping[str, Any]) -> list[list[str]]:
    rows = [[card["claim"], ""]]
    for name, value in card["metrics"].items():
        if isinstance(value, dict):
            shown = metric_cell("accuracy", value)
        elif isinstance(value, list):
            shown = ", ".join(map(str, value))
        elif isinstance(value, str):
            shown = value
        else:
            shown = f"{value:,}"
        rows.append([name, shown])
    return rows


def main(path: Path, folder: Path) -> None:
    """Fill a file in place."""
    write_text(path, fill(path.read_text(encoding="utf-8"), folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
