"""Result cards: what was run, how, on what, and what came out, in one JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickstudy.evaluation import (
    HIGHER_IS_BETTER,
    Adaptation,
    Difference,
    Interval,
    Probe,
    Scores,
    compare,
    reliability,
    summarize,
)
from quickstudy.files import write_text

__all__ = [
    "Outcome",
    "best_of",
    "card",
    "compared_at",
    "differences",
    "entries",
    "over",
    "read_card",
    "verdict",
    "write_card",
]


@dataclass
class Outcome:
    """What one contestant achieved.

    Attributes:
        role: `learner`, `transfer`, `baseline` or `optimum`.
        scores: for every run (seed), the scores by protocol.
        seconds: training time of every run; 0 for what is not trained.
        training: how it was trained; None when it was not.
        normalization: the policy of its network.
        curves: for every run, lines of its log.
        probes: how the learner of the first run does when the tasks of the first protocol get harder.
        adaptation: how the learner of the first run adapts to them, where it has an inner loop.
        cosines: how far the gradients of its named tasks agreed over the training of the first run, where that was
            watched: `tasks`, `layers`, `steps`, and `values[step][layer]`, means over pairs of tasks.
        series, at: in a sweep, the curve that it is a point of, and where on the axis.
        tasks_at_once: how many tasks it vectorises over, or "by device"; None when it has no such choice.
    """

    role: str
    scores: list[dict[str, Scores]]
    seconds: list[float]
    training: dict[str, Any] | None = None
    normalization: str = "none"
    curves: list[list[dict[str, Any]]] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    adaptation: Adaptation | None = None
    cosines: dict[str, Any] | None = None
    series: str | None = None
    at: float | None = None
    tasks_at_once: int | str | None = None

    def runs(self, protocol: str) -> list[Scores]:
        """The scores of all runs under one protocol."""
        return [scores[protocol] for scores in self.scores]

    def metrics(self) -> dict[str, Interval]:
        """`protocol.metric` → mean over runs and tasks, with its interval."""
        return {
            f"{protocol}.{name}": value
            for protocol in self.scores[0]
            for name, value in summarize(self.runs(protocol)).items()
        }


def card(
    recipe: str,
    claim: str,
    command: str,
    seeds: Sequence[int],
    config: Mapping[str, Any],
    protocol: Mapping[str, Any],
    outcomes: Mapping[str, Outcome],
    metric: str,
    where: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything a reader needs to believe, or to repeat, a result.

    With one contestant its metrics stand at the top; with several, each has an entry under `learners`, and their
    paired differences on the same tasks follow. Calibration, adaptation and failure probes are those of
    the first protocol.
    """
    main, first = next(iter(outcomes.items()))
    compared = next(iter(first.scores[0]))
    metrics = {protocol: compared_at(scores, metric) for protocol, scores in first.scores[0].items()}
    result: dict[str, Any] = {
        "recipe": recipe,
        "claim": claim,
        "command": command,
        "seed": seeds[0] if len(seeds) == 1 else None,
        "seeds": list(seeds),
        "config": dict(config),
        "protocol": dict(protocol),
        "steps": (first.training or {}).get("steps", 0),
        "seconds": round(sum(sum(outcome.seconds) for outcome in outcomes.values()), 1),
        "machine": dict(where),
        "metric": metrics[compared],
        "metrics": {name: value.to_json() for name, value in first.metrics().items()},
    }
    if len(outcomes) > 1:
        result["learners"] = {
            name: {
                "role": outcome.role,
                "normalization": outcome.normalization,
                **({} if outcome.tasks_at_once is None else {"tasks_at_once": outcome.tasks_at_once}),
                "training": outcome.training,
                "seconds": [round(seconds, 1) for seconds in outcome.seconds],
                **({} if outcome.at is None else {"series": outcome.series, "at": outcome.at}),
                "metrics": {key: value.to_json() for key, value in outcome.metrics().items()},
            }
            for name, outcome in outcomes.items()
        }
        result["differences"] = [
            {"protocol": protocol, "first": a, "second": b, "metric": by, **d.value.to_json(), "words": str(d)}
            for protocol, by in metrics.items()
            for a, b, d in differences(outcomes, protocol, by)
        ]
        result["verdict"] = verdict(outcomes, compared, metrics[compared])
    else:
        result["learner"], result["normalization"], result["training"] = main, first.normalization, first.training
        if first.tasks_at_once is not None:
            result["tasks_at_once"] = first.tasks_at_once
    scored = {name: outcome for name, outcome in outcomes.items() if compared in outcome.scores[0]}
    curves = {name: reliability(outcome.runs(compared)) for name, outcome in scored.items()}
    if any(curves.values()):
        result["calibration"] = {"protocol": compared, "learners": {n: curve for n, curve in curves.items() if curve}}
    probed = {name: [each.to_json() for each in outcome.probes] for name, outcome in outcomes.items() if outcome.probes}
    if probed:
        result["probes"] = {"protocol": compared, "metric": metrics[compared], "learners": probed}
    adapting = {name: each.adaptation.to_json() for name, each in outcomes.items() if each.adaptation is not None}
    if adapting:
        result["adaptation"] = {"protocol": compared, "learners": adapting}
    watched = {name: each.cosines for name, each in outcomes.items() if each.cosines is not None}
    if watched:
        result["cosines"] = watched
    return result


def entries(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of each learner, also when there is but one; `seconds` are those of a run, on average."""
    each = card.get("learners") or {
        card.get("learner", card["recipe"]): {
            "role": "learner",
            "normalization": card.get("normalization", "none"),
            "training": card.get("training"),
            "metrics": card["metrics"],
            "seconds": [card["seconds"] / len(card["seeds"])],
        }
    }
    return {name: {**entry, "seconds": sum(entry["seconds"]) / len(entry["seconds"])} for name, entry in each.items()}


def compared_at(scores: Scores, metric: str) -> str:
    """By what contestants are compared under a protocol that has these scores: named tasks may have other metrics."""
    return metric if metric in scores.values else next(iter(scores.values))


def over(tasks: int, seeds: int) -> str:
    """What a mean is over, in words. A named task is one and has a name, so it is not counted."""
    runs = f"{seeds} seed{'s' if seeds > 1 else ''}"
    return runs if tasks == 1 else f"{tasks} tasks, {runs}"


def differences(outcomes: Mapping[str, Outcome], protocol: str, metric: str) -> list[tuple[str, str, Difference]]:
    """Every learner against everyone that is no learner (nor the optimum), paired on the same tasks."""
    scored = {name: outcome for name, outcome in outcomes.items() if protocol in outcome.scores[0]}
    learners = [name for name, outcome in scored.items() if outcome.role == "learner"]
    baselines = [name for name, outcome in scored.items() if outcome.role in ("transfer", "baseline")]
    return [
        (a, b, compare(outcomes[a].runs(protocol), outcomes[b].runs(protocol), metric))
        for a in learners
        for b in baselines
    ]


def verdict(outcomes: Mapping[str, Outcome], protocol: str, metric: str) -> str:
    """Does learning across tasks help, and does it take more than plain transfer?

    The first-named learner against the baseline, and against the transfer method, that does best on the test tasks.
    The learner is named beforehand and the other is picked afterwards, so luck in picking is on the other's side.
    """
    learner = next((name for name, outcome in outcomes.items() if outcome.role == "learner"), None)
    parts = []
    for role, yes, no in (
        ("baseline", "Learning across tasks helps", "Learning across tasks does not help here"),
        ("transfer", "It takes more than plain transfer", "Plain transfer is better here"),
    ):
        others = [name for name, outcome in outcomes.items() if outcome.role == role and protocol in outcome.scores[0]]
        if learner is None or not others:
            continue
        best = best_of(outcomes, others, protocol, metric)
        difference = compare(outcomes[learner].runs(protocol), outcomes[best].runs(protocol), metric)
        says = {True: yes, False: no, None: "No difference is shown"}[difference.better]
        value = difference.value
        parts.append(
            f"{says}: at {protocol}, {learner} against the best {role}, {best}: {difference}, "
            f"{over(value.tasks, value.seeds)}."
        )
    return " ".join(parts) or "There is nothing to compare."


def best_of(outcomes: Mapping[str, Outcome], names: Sequence[str], protocol: str, metric: str) -> str:
    """Which of them does best under a protocol."""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return max(names, key=lambda name: sign * outcomes[name].metrics()[f"{protocol}.{metric}"].mean)


def write_card(result: Mapping[str, Any], path: Path) -> None:
    """Write a card, atomically."""
    write_text(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def read_card(path: Path) -> dict[str, Any]:
    """Read a card.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or no card.
    """
    if not path.exists():
        raise FileNotFoundError(f"no result at {path}")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no card: {error}") from error
    if not isinstance(result, dict):
        raise ValueError(f"{path} is no card: it holds {type(result).__name__}")
    return result
