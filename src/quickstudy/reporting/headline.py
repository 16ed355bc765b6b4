"""What a result says, in the words of people who do not read tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickstudy.evaluation import HIGHER_IS_BETTER
from quickstudy.reporting.cards import entries
from quickstudy.reporting.tables import metric_cell

__all__ = ["Headline", "compared_by", "headline", "sentence"]


@dataclass(frozen=True)
class Headline:
    """The verdict.

    Attributes:
        state: `helps`, `hurts`, `open` (no difference shown) or `alone` (nothing was compared).
        title: in a few words.
        text: in a sentence, with the numbers.
    """

    state: str
    title: str
    text: str


def headline(card: Mapping[str, Any]) -> Headline:
    """The first-named learner against the baseline that does best, as in the card's verdict."""
    found = entries(card)
    protocol, metric = next(iter(card["metrics"])).rpartition(".")[0], compared_by(card)
    learner = next((name for name, entry in found.items() if entry.get("role", "learner") == "learner"), None)
    baselines = [name for name, entry in found.items() if entry.get("role") == "baseline"]
    differences = {
        (each["first"], each["second"]): each for each in card.get("differences", []) if each["protocol"] == protocol
    }
    if learner is None or not baselines or (learner, baselines[0]) not in differences:
        name = learner or next(iter(found))
        value = found[name]["metrics"][f"{protocol}.{metric}"]
        unit = "% of its answers are right" if metric == "accuracy" else f"its {_called(metric)}"
        shown = metric_cell(metric, value)
        said = f"{shown}{unit}" if metric == "accuracy" else f"{unit} is {shown}"
        text = f"At {protocol}, over {value['tasks']} test tasks{_seeds(value)}, {said}."
        return Headline("alone", f"{name} was scored, and compared with no one", text)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    best = max(baselines, key=lambda name: sign * found[name]["metrics"][f"{protocol}.{metric}"]["mean"])
    difference = differences[learner, best]
    sure = difference["ci95"] is not None and abs(difference["mean"]) > difference["ci95"]
    state = "open" if not sure else "helps" if sign * difference["mean"] > 0 else "hurts"
    title = {
        "helps": "Learning across tasks helps",
        "hurts": "Learning across tasks does not help here",
        "open": "No difference is shown",
    }[state]
    return Headline(state, title, sentence(difference, f"the best baseline, {best}"))


def sentence(difference: Mapping[str, Any], second: str | None = None) -> str:
    """A paired difference in a sentence."""
    metric, first, second = difference["metric"], difference["first"], second or difference["second"]
    half = difference["ci95"] or 0.0
    shown = difference["ci95"] is not None and abs(difference["mean"]) > half
    where = f"over the same {difference['tasks']} test tasks{_seeds(difference)}"
    if metric == "accuracy":
        size = f"{100 * abs(difference['mean']):.1f} ± {100 * half:.1f} percentage points"
        more = "more" if difference["mean"] > 0 else "less"
        if shown:
            return f"At {difference['protocol']}, {first} is right {size} {more} often than {second}, {where}."
        return (
            f"At {difference['protocol']}, {first} and {second} are right equally often within what can be told: the "
            f"difference is {100 * difference['mean']:+.1f} ± {100 * half:.1f} percentage points, {where}."
        )
    size = f"{abs(difference['mean']):.3f} ± {half:.3f}"
    if shown:
        less = "higher" if difference["mean"] > 0 else "lower"
        of = f"the {_called(metric)} of {first} is {size} {less} than that of {second}"
        return f"At {difference['protocol']}, {of}, {where}."
    return (
        f"At {difference['protocol']}, the {_called(metric)} of {first} and of {second} are equal within what can be "
        f"told: the difference is {difference['mean']:+.3f} ± {half:.3f}, {where}."
    )


def compared_by(card: Mapping[str, Any]) -> str:
    """What learners are compared by; cards of before this was written down have it in their differences."""
    if "metric" in card:
        return str(card["metric"])
    if card.get("differences"):
        return str(card["differences"][0]["metric"])
    return "accuracy" if any(name.endswith(".accuracy") for name in card["metrics"]) else "mse"


def _called(metric: str) -> str:
    return {"mse": "mean squared error", "nll": "negative log-likelihood", "brier": "Brier score"}.get(metric, metric)


def _seeds(value: Mapping[str, Any]) -> str:
    return f" and {value['seeds']} seeds" if value.get("seeds", 1) > 1 else ""
