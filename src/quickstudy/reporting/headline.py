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
        state: `helps`, `hurts`, `open` (no difference shown), `alone` (nothing was compared) or `answer` (to a question
            of the recipe's own).
        title: in a few words.
        text: in a sentence, with the numbers.
    """

    state: str
    title: str
    text: str


def headline(card: Mapping[str, Any]) -> Headline:
    """The recipe's own answer, or the first-named learner against the best of the others, as in the card's verdict."""
    if card.get("answer"):
        return Headline("answer", "What came out", card["answer"])
    found = entries(card)
    protocol, metric = next(iter(card["metrics"])).rpartition(".")[0], compared_by(card)
    learner = next((name for name, entry in found.items() if entry["role"] == "learner"), next(iter(found)))
    judged = [
        (role, difference)
        for role in ("baseline", "transfer")
        if (difference := _against_the_best(card, learner, role, protocol, metric)) is not None
    ]
    if not judged:
        return _alone(learner, found[learner]["metrics"][f"{protocol}.{metric}"], protocol, metric)
    role, difference = judged[0]
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    sure = difference["ci95"] is not None and abs(difference["mean"]) > difference["ci95"]
    state = "open" if not sure else "helps" if sign * difference["mean"] > 0 else "hurts"
    titles = {
        ("baseline", "helps"): "Learning across tasks helps",
        ("baseline", "hurts"): "Learning across tasks does not help here",
        ("transfer", "helps"): "It takes more than plain transfer",
        ("transfer", "hurts"): "Plain transfer is better here",
    }
    texts = [sentence(each, f"the best {kind}, {each['second']}") for kind, each in judged]
    return Headline(state, titles.get((role, state), "No difference is shown"), " ".join(texts))


def _against_the_best(
    card: Mapping[str, Any], learner: str, role: str, protocol: str, metric: str
) -> Mapping[str, Any] | None:
    """The learner's difference from that one of a role which does best; None where there is none."""
    sign, found = 1 if HIGHER_IS_BETTER[metric] else -1, entries(card)
    rows = [
        each
        for each in card.get("differences", [])
        if each["protocol"] == protocol and each["first"] == learner and found[each["second"]]["role"] == role
    ]
    best = [found[each["second"]]["metrics"][f"{protocol}.{metric}"]["mean"] for each in rows]
    return max(zip(best, rows, strict=True), key=lambda pair: sign * pair[0])[1] if rows else None


def _alone(learner: str, value: Mapping[str, Any], protocol: str, metric: str) -> Headline:
    shown = metric_cell(metric, value)
    said = f"{shown}% of its answers are right" if metric == "accuracy" else f"its {_called(metric)} is {shown}"
    text = f"At {protocol}, over {_tasks(value, '')}, {said}."
    return Headline("alone", f"{learner} was scored, and compared with no one", text)


def sentence(difference: Mapping[str, Any], second: str | None = None) -> str:
    """A paired difference in a sentence."""
    metric, first, second = difference["metric"], difference["first"], second or difference["second"]
    half = difference["ci95"]
    shown = half is not None and abs(difference["mean"]) > half
    where = f"over {_tasks(difference, 'the same ')}"
    if metric == "accuracy":
        within = "" if half is None else f" ± {100 * half:.1f}"
        size = f"{100 * abs(difference['mean']):.1f}{within} percentage points"
        more = "more" if difference["mean"] > 0 else "less"
        if shown:
            return f"At {difference['protocol']}, {first} is right {size} {more} often than {second}, {where}."
        return (
            f"At {difference['protocol']}, {first} and {second} are right equally often within what can be told: the "
            f"difference is {100 * difference['mean']:+.1f}{within} percentage points, {where}."
        )
    within = "" if half is None else f" ± {half:.3f}"
    size = f"{abs(difference['mean']):.3f}{within}"
    if shown:
        less = "higher" if difference["mean"] > 0 else "lower"
        of = f"the {_called(metric)} of {first} is {size} {less} than that of {second}"
        return f"At {difference['protocol']}, {of}, {where}."
    return (
        f"At {difference['protocol']}, the {_called(metric)} of {first} and of {second} are equal within what can be "
        f"told: the difference is {difference['mean']:+.3f}{within}, {where}."
    )


def compared_by(card: Mapping[str, Any]) -> str:
    """What learners are compared by; cards of before this was written down have it in their differences."""
    if "metric" in card:
        return str(card["metric"])
    if card.get("differences"):
        return str(card["differences"][0]["metric"])
    return "accuracy" if any(name.endswith(".accuracy") for name in card["metrics"]) else "mse"


def _called(metric: str) -> str:
    return {
        "mse": "mean squared error",
        "nll": "negative log-likelihood",
        "brier": "Brier score",
        "auc": "area under the ROC curve",
        "log_loss": "log loss",
        "rmse": "root mean squared error",
        "mae": "mean absolute error",
        "ndcg": "NDCG",
        "mrr": "mean reciprocal rank",
    }.get(metric, metric)


def _tasks(value: Mapping[str, Any], same: str) -> str:
    if value["tasks"] == 1:
        seeds = value.get("seeds", 1)
        return f"{same}test examples, {seeds} seed{'s' if seeds > 1 else ''}"
    return f"{same}{value['tasks']} test tasks{_seeds(value)}"


def _seeds(value: Mapping[str, Any]) -> str:
    return f" and {value['seeds']} seeds" if value.get("seeds", 1) > 1 else ""
