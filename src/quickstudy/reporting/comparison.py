"""Several runs on one page: side by side, and paired where they were scored on the same test tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstudy.evaluation import HIGHER_IS_BETTER, Difference, Scores, compare, reliability, same_tasks
from quickstudy.learners import Learner
from quickstudy.reporting.cards import entries
from quickstudy.reporting.headline import Headline, compared_by, sentence
from quickstudy.reporting.saved import SavedRun

__all__ = ["SeveralRuns", "compare_runs", "complete"]


@dataclass(frozen=True)
class SeveralRuns:
    """What a page about several runs shows.

    Attributes:
        card: as that of one run, with the learners of all.
        logs: by learner, the lines of every seed's log.
        verdict: the paired differences in sentences, or why there are none.
        notes: what else a reader must know.
        learners: of the first seed, to draw tasks with.
        same_protocol: whether all were scored on the same tasks under the first protocol.
    """

    card: dict[str, Any]
    logs: dict[str, list[list[dict[str, Any]]]]
    verdict: Headline
    notes: tuple[str, ...]
    learners: dict[str, Learner]
    same_protocol: bool


def complete(run: SavedRun) -> dict[str, Any]:
    """The card of a run, with calibration from its scores where it was written before cards had it."""
    if "calibration" in run.card:
        return run.card
    protocol = next(iter(run.card["metrics"])).rpartition(".")[0]
    scored = {name: run.scores(name) for name in run.parts}
    curves = {
        name: reliability([scores[protocol] for scores in each]) for name, each in scored.items() if protocol in each[0]
    }
    known = {name: curve for name, curve in curves.items() if curve}
    return {**run.card, "calibration": {"protocol": protocol, "learners": known}} if known else run.card


def compare_runs(runs: Sequence[SavedRun]) -> SeveralRuns:
    """Put runs on one page. The first learner of the first run is compared with the first learner of each other."""
    labels = _labels([run.folder for run in runs])
    cards = [complete(run) for run in runs]
    named = [{name: f"{name} ({label})" for name in run.parts} for run, label in zip(runs, labels, strict=True)]
    mains = [next(iter(run.parts)) for run in runs]
    scores = [run.scores(main) for run, main in zip(runs, mains, strict=True)]
    protocols = list(dict.fromkeys(protocol for each in scores for protocol in each[0]))
    differences, notes = [], []
    for protocol in protocols:
        holders = [number for number, each in enumerate(scores) if protocol in each[0]]
        if len(holders) < 2:
            notes.append(f"Only {labels[holders[0]]} was scored at {protocol}.")
            continue
        first, metric = holders[0], compared_by(cards[holders[0]])
        for other in holders[1:]:
            pair = named[first][mains[first]], named[other][mains[other]]
            found = _paired(
                [each[protocol] for each in scores[first]], [each[protocol] for each in scores[other]], metric
            )
            if isinstance(found, str):
                notes.append(f"At {protocol}, {pair[0]} and {pair[1]} cannot be paired: {found}.")
                continue
            entry = {"protocol": protocol, "first": pair[0], "second": pair[1], "metric": metric}
            differences.append({**entry, **found.value.to_json(), "words": str(found)})
    card = _merged(cards, labels, named, differences)
    names = {named[number][main] for number, main in enumerate(mains)}
    logs = {named[i][name]: lines for i, run in enumerate(runs) for name, lines in run.logs().items()}
    learners = {named[i][name]: learner for i, run in enumerate(runs) for name, learner in run.learners().items()}
    same = all(
        protocols[0] in each[0] and same_tasks([scores[0][0][protocols[0]], each[0][protocols[0]]]) for each in scores
    )
    drawn = learners if len(learners) <= _MOST_DRAWN else {n: each for n, each in learners.items() if n in names}
    return SeveralRuns(card, logs, _verdict(differences), tuple(notes), drawn, same)


_MOST_DRAWN = 8


def _paired(first: Sequence[Scores], second: Sequence[Scores], metric: str) -> Difference | str:
    """The difference on the same tasks, or why there is none."""
    if not same_tasks([*first, *second]):
        return "they were scored on different test tasks"
    if metric not in second[0].values:
        return f"one of them has no {metric}"
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        return f"one has {len(first)} seeds and the other {len(second)}"
    return compare(first, second, metric)


def _verdict(differences: Sequence[dict[str, Any]]) -> Headline:
    if not differences:
        return Headline(
            "alone", "These runs cannot be paired", "They stand side by side; their test tasks are not the same."
        )
    first = differences[0]
    shown = first["ci95"] is not None and abs(first["mean"]) > first["ci95"]
    better = (first["mean"] > 0) == HIGHER_IS_BETTER[first["metric"]]
    title = "No difference is shown between " if not shown else ""
    if not shown:
        title += f"{first['first']} and {first['second']}"
    else:
        title = f"{first['first']} does {'better' if better else 'worse'} than {first['second']}"
    state = "open" if not shown else "helps" if better else "hurts"
    same = [each for each in differences if each["protocol"] == first["protocol"]]
    return Headline(state, title, " ".join(sentence(each) for each in same))


def _labels(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ."""
    paths = [folder.resolve() for folder in folders]
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(labels)) == len(labels):
            break
    return labels


def _merged(
    cards: Sequence[dict[str, Any]],
    labels: Sequence[str],
    named: Sequence[dict[str, str]],
    differences: list[dict[str, Any]],
) -> dict[str, Any]:
    """One card of several, each learner under its name and its run's."""
    metrics: dict[str, Any] = {}
    learners: dict[str, Any] = {}
    merged: dict[str, dict[str, Any]] = {"calibration": {}, "adaptation": {}, "probes": {}}
    compared = next(iter(cards[0]["metrics"])).rpartition(".")[0]
    for card, names in zip(cards, named, strict=True):
        metrics = {**card["metrics"], **metrics}
        for name, entry in entries(card).items():
            learners[names[name]] = {**entry, "seconds": [entry["seconds"]]}
        for kind, found in merged.items():
            about = card.get(kind, {})
            if about.get("protocol") == compared and about.get("metric") == cards[0].get(kind, {}).get("metric"):
                found.update({names[name]: value for name, value in about["learners"].items() if name in names})
    result = {
        "recipe": ", ".join(labels),
        "claim": " ".join(dict.fromkeys(card["claim"] for card in cards)),
        "command": list(dict.fromkeys(card["command"] for card in cards)),
        "seeds": sorted({seed for card in cards for seed in card["seeds"]}),
        "config": {label: card["config"] for label, card in zip(labels, cards, strict=True)},
        "protocol": {
            f"{protocol} ({label})" if len({str(c["protocol"].get(protocol)) for c in cards}) > 1 else protocol: about
            for label, card in zip(labels, cards, strict=True)
            for protocol, about in card["protocol"].items()
        },
        "seconds": sum(card["seconds"] for card in cards),
        "machine": cards[0]["machine"],
        "metric": compared_by(cards[0]),
        "metrics": metrics,
        "learners": learners,
        "differences": differences,
    }
    for kind in ("calibration", "adaptation"):
        if merged[kind]:
            result[kind] = {"protocol": compared, "learners": merged[kind]}
    if merged["probes"]:
        result["probes"] = {**cards[0]["probes"], "learners": merged["probes"]}
    return result
