"""The report of a run: one HTML file, nothing beside it, no network, no script."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from quickstudy.evaluation import HIGHER_IS_BETTER, Adaptation, Probe
from quickstudy.files import write_text
from quickstudy.reporting.adaptation import adaptation_panels
from quickstudy.reporting.cards import entries
from quickstudy.reporting.cosines import cosine_panels
from quickstudy.reporting.deltas import delta_panels
from quickstudy.reporting.episodes import Episode
from quickstudy.reporting.headline import Headline, headline
from quickstudy.reporting.pareto import pareto_panels
from quickstudy.reporting.plots import (
    MARKS,
    calibration_panels,
    curve_panels,
    difference_panels,
    mark,
    probe_panels,
)
from quickstudy.reporting.svg import SERIES, Panel
from quickstudy.reporting.sweep import sweep_panels
from quickstudy.reporting.tables import metric_cell, tables

__all__ = ["write_report"]

_GLYPHS = dict(zip(MARKS, "●■▲◆▼✚✖★", strict=True))  # matplotlib's markers, as text
_MEANINGS = {
    "accuracy": "accuracy: share of queries whose most probable class is right, in percent",
    "brier": "brier: squared distance of the probabilities from the truth, 0 to 2",
    "ece": "ece: expected calibration error, how far confidence is from being right",
    "nll": "nll: negative log-likelihood of the truth, in nats per query",
    "mse": "mse: mean squared error, in the unit in which targets are learned (of tables: standard deviations)",
    "auc": "auc: area under the ROC curve, the share of pairs of examples of the two classes that are ranked right",
    "log_loss": "log_loss: negative log-likelihood of the truth, in nats per example",
    "rmse": "rmse: root mean squared error, in the unit in which targets are learned (of tables: standard deviations)",
    "mae": "mae: mean absolute error, in the unit in which targets are learned (of tables: standard deviations)",
    "ndcg": "ndcg: what a ranked list gains by its order, as a share of the most that it could",
    "mrr": "mrr: mean of 1 / the rank of the first relevant candidate",
    "correlation": "correlation: of what is predicted with what is true, 1 when the one is a rising line of the other",
}


def write_report(
    card: Mapping[str, Any],
    path: Path,
    *,
    logs: Mapping[str, Sequence[Sequence[dict[str, Any]]]] | None = None,
    episodes: Sequence[Episode] = (),
    fits: Sequence[Panel] = (),
    attention: Sequence[Panel] = (),
    figures: Sequence[Panel] = (),
    notes: Sequence[str] = (),
    verdict: Headline | None = None,
) -> None:
    """Write the report of a card, atomically. The same card, logs, episodes and fits give the same bytes.

    Args:
        card: see `quickstudy.reporting.card`.
        path: of the HTML file.
        logs: by learner, the lines of every run's log.
        episodes: test tasks, drawn.
        fits: test tasks of which the fit is drawn step by step; shown where the card says how learners adapt.
        attention: test tasks of which it is drawn what queries attend to.
        figures: what a recipe draws of its own.
        notes: what a reader must know beside the numbers, such as what could not be drawn.
        verdict: what stands at the top; by default what the card says.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("quickstudy.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        {
            **_context(card, logs or {}, episodes, fits, notes, verdict),
            "attention_panels": list(attention),
            "figures": [*cosine_panels(card), *figures],
        }
    )
    write_text(path, page)


def _context(
    card: Mapping[str, Any],
    logs: Mapping[str, Any],
    episodes: Sequence[Episode],
    fits: Sequence[Panel],
    notes: Sequence[str],
    verdict: Headline | None,
) -> dict[str, Any]:
    """Everything that the templates fill in."""
    learners = entries(card)
    styles = {name: number for number, name in enumerate(learners)}
    baselines = frozenset(name for name, entry in learners.items() if entry["role"] != "learner")
    scores = [{**each, "groups": _by_role(each)} for each in tables(card) if "roles" in each]
    differences = card.get("differences", [])
    calibration = card.get("calibration", {"protocol": "", "learners": {}})
    adaptation = card.get("adaptation", {"protocol": "", "learners": {}})
    adapting = {name: Adaptation.from_json(each) for name, each in adaptation["learners"].items()}
    probes = card.get("probes", {"protocol": "", "metric": "accuracy", "learners": {}})
    errors = {
        name: metric_cell("ece", entry["metrics"].get(f"{calibration['protocol']}.ece"))
        for name, entry in learners.items()
    }
    probed = {name: [Probe.from_json(probe) for probe in each] for name, each in probes["learners"].items()}
    metrics = list(dict.fromkeys(name.rpartition(".")[2] for each in learners.values() for name in each["metrics"]))
    sweep, swept = sweep_panels(card)
    return {
        "card": card,
        "verdict": verdict or headline(card),
        "description": card.get("verdict") or card["claim"],
        "tables": scores,
        "arrows": {name: "↑" if HIGHER_IS_BETTER[name] else "↓" for name in metrics if name in HIGHER_IS_BETTER},
        "meanings": [_MEANINGS[name] for name in metrics if name in _MEANINGS],
        "pareto_panels": pareto_panels(card, styles),
        "single": not isinstance(card["command"], list),
        "differences": differences,
        "difference_panels": [*delta_panels(differences), *difference_panels(differences)],
        "legend_items": _legend(styles, baselines),
        "sweep_panels": sweep,
        "sweep_legend": _legend(swept, frozenset()),
        "curve_legend": set(logs),
        "curve_panels": curve_panels(logs, styles, baselines),
        "episodes": episodes,
        "adaptation_protocol": adaptation["protocol"],
        "adaptation_tasks": max((each.tasks for each in adapting.values()), default=0),
        "adaptation_learners": ", ".join(adapting),
        "adaptation_panels": [*adaptation_panels(adapting, styles), *fits] if adapting else [],
        "calibration_protocol": calibration["protocol"],
        "calibration_panels": calibration_panels(calibration["learners"], errors, styles),
        "probe_protocol": probes["protocol"],
        "probe_legend": set(probed),
        "probe_tasks": max(
            (p.values[0].tasks for each in probed.values() for p in each if p.changes != "training tasks"), default=0
        ),
        "probe_panels": probe_panels(probed, probes["metric"], styles, baselines),
        "fewer": any(probe.changes == "training tasks" for each in probed.values() for probe in each),
        "protocol": _protocol_table(card["protocol"]),
        "training": _training_table(learners),
        "machine": _machine(card["machine"]),
        "commands": card["command"] if isinstance(card["command"], list) else [card["command"]],
        "config": json.dumps(card["config"], indent=1, ensure_ascii=False),
        "notes": list(notes),
    }


def _legend(styles: Mapping[str, int], dashed: frozenset[str]) -> list[dict[str, Any]]:
    """How each name is drawn: the marker as text, the number of its colour, whether its line is dashed."""
    return [
        {
            "name": name,
            "glyph": _GLYPHS[mark(number)],
            "series": number % len(SERIES),
            "dashed": name in dashed,
        }
        for name, number in styles.items()
    ]


_ROLES = {
    "learner": "learns across tasks",
    "transfer": "plain transfer: pre-trained on other tasks' data",
    "baseline": "baseline: what one would try first",
    "optimum": "knows what no learner knows",
}


def _by_role(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table of scores in groups, each cell with whether it is the best of its column."""
    groups = []
    for role, title in _ROLES.items():
        rows = [
            [(cell, table["best"][column] == number) for column, cell in enumerate(row)]
            for number, row in enumerate(table["rows"])
            if table["roles"][number] == role
        ]
        if rows:
            groups.append({"role": role, "title": title, "rows": rows})
    return groups


def _protocol_table(protocol: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A column per protocol, a row per thing that a reader must know to compare a score."""
    keys = list(dict.fromkeys(key for each in protocol.values() for key in each))
    rows = [[key.replace("_", " "), *(_plain(each.get(key, "")) for each in protocol.values())] for key in keys]
    return {"head": ["", *protocol], "rows": rows}


def _training_table(learners: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row per learner: its role, the normalization policy of its network, and how it was trained."""
    keys = list(dict.fromkeys(key for entry in learners.values() for key in entry["training"] or {}))
    rows = [
        [
            name,
            entry["role"],
            entry["normalization"],
            *(_plain((entry["training"] or {}).get(key, "–")) for key in keys),
        ]
        for name, entry in learners.items()
    ]
    return {"head": ["", "role", "normalization", *(key.replace("_", " ") for key in keys)], "rows": rows}


def _machine(where: Mapping[str, Any]) -> str:
    gpu = f", {where['gpu']}" if where["gpu"] else ""
    return (
        f"{where['cores']} × {where['cpu']}{gpu}; {where['system']}, Python {where['python']}, torch {where['torch']}"
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " – ".join(map(str, value))
    return "none" if value is None else str(value)
