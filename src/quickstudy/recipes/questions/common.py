"""What the questions share: a small network, an equal budget, and words for how a score moves along an axis."""

from collections.abc import Mapping
from itertools import pairwise

from quickstudy.evaluation import compare
from quickstudy.learners import PrototypicalNetwork
from quickstudy.networks import Conv4, Policy
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.reporting import Outcome
from quickstudy.tasks import Split

__all__ = ["DRAWINGS", "network", "percent", "prototypical", "trained", "trend"]

DRAWINGS = 180  # that a training step shows, in every contestant of every question


def network(normalization: Policy = "layer") -> Conv4:
    """Half as wide as in the papers, so that a question is answered in minutes on two cores."""
    return Conv4(filters=32, normalization=normalization)


def trained(tasks: Split, steps: int, batch_size: int = 1, rate: float = 3e-3) -> Training:
    """The budget of all questions."""
    return Training(tasks, steps, batch_size, rate, precision="bf16-mixed")


def prototypical(training: Training, series: str | None = None, at: float | None = None) -> Contestant:
    """A prototypical network, a point of a sweep perhaps."""
    return Contestant(lambda: PrototypicalNetwork(network()), training, series=series, at=at)


def percent(outcome: Outcome, protocol: str) -> str:
    """An accuracy with its interval, in percent."""
    value = outcome.metrics()[f"{protocol}.accuracy"]
    return f"{100 * value.mean:.1f} ± {100 * value.ci95:.1f}%"


def trend(outcomes: Mapping[str, Outcome], series: str, protocol: str, unit: str) -> str:
    """How accuracy moves along the points of one series, and where its steps stop being shown."""
    points = sorted((o for o in outcomes.values() if o.series == series), key=lambda o: o.at or 0.0)
    whole = compare(points[-1].runs(protocol), points[0].runs(protocol), "accuracy")
    moves = {True: "grows", False: "falls", None: "does not change"}[whole.better]
    steps = [
        (f"from {a.at:g} to {b.at:g}", compare(b.runs(protocol), a.runs(protocol), "accuracy").better)
        for a, b in pairwise(points)
    ]
    unsure, back = ([at for at, better in steps if better == which] for which in (None, not whole.better))
    rest = f"; not shown {', '.join(unsure)}" if unsure else ""
    rest += f"; the other way {', '.join(back)}" if back else ""
    rest = rest or "; every step is shown"
    return (
        f"At {protocol}, {series} {moves} from {percent(points[0], protocol)} with {points[0].at:g} {unit} to "
        f"{percent(points[-1], protocol)} with {points[-1].at:g}{rest if whole.better is not None else ''}."
    )
