"""The report of a run: one HTML file, nothing beside it, no network."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from quickstudy.evaluation import Interval
from quickstudy.files import write_text
from quickstudy.reporting.cards import entries
from quickstudy.reporting.plots import as_data_uri

__all__ = ["metric_cell", "tables", "write_report"]


def write_report(card: Mapping[str, Any], pictures: Mapping[str, Figure], path: Path) -> None:
    """Write the report of a card, atomically.

    Args:
        card: see `quickstudy.reporting.card`.
        pictures: figures by title.
        path: of the HTML file.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    source = resources.files("quickstudy.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
    details = {key: card[key] for key in ("seeds", "config", "protocol", "seconds", "machine")}
    details["training"] = {
        name: {"normalization": entry["normalization"], **(entry["training"] or {})}
        for name, entry in card.get("learners", {}).items()
    } or card.get("training")
    page = environment.from_string(source).render(
        card={"verdict": None, **card},
        tables=tables(card),
        pictures=[{"title": title, "data": as_data_uri(figure)} for title, figure in pictures.items()],
        details=json.dumps(details, indent=1, ensure_ascii=False),
    )
    write_text(path, page)


def tables(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A table per protocol: a row per learner, a column per metric; then the paired differences."""
    out = []
    names = list(card["metrics"])
    for protocol in dict.fromkeys(name.rpartition(".")[0] for name in names):
        metrics = [name.rpartition(".")[2] for name in names if name.startswith(protocol + ".")]
        rows = [
            [
                name,
                *(metric_cell(m, entry["metrics"].get(f"{protocol}.{m}")) for m in metrics),
                f"{entry['seconds']:.0f}",
            ]
            for name, entry in entries(card).items()
        ]
        tasks = card["metrics"][f"{protocol}.{metrics[0]}"]["tasks"]
        out.append(
            {"title": f"{protocol}, {tasks} test tasks", "head": ["", *metrics, "training seconds"], "rows": rows}
        )
    if card.get("differences"):
        rows = [[d["protocol"], f"{d['first']} − {d['second']}", d["words"]] for d in card["differences"]]
        head = ["protocol", "paired on the same tasks", f"difference in {card['differences'][0]['metric']}"]
        out.append({"title": "Differences", "head": head, "rows": rows})
    return out


def metric_cell(metric: str, value: Mapping[str, Any] | None) -> str:
    """A metric as people read it: accuracy in percent, the rest as it is."""
    if value is None:
        return "n/a"
    known = Interval.from_json(dict(value))
    factor, digits = (100, 1) if metric == "accuracy" else (1, 3)
    return f"{factor * known.mean:.{digits}f} ± {factor * known.ci95:.{digits}f}"
