"""When does a network learn to learn in context, and when does it remember classes instead?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from quickstudy.evaluation import compare
from quickstudy.learners import InContextTransformer
from quickstudy.networks import Conv4
from quickstudy.recipes.questions.common import percent
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, LabelledSequences, Renamed, Split, TaskSource, omniglot
from quickstudy.tasks.source import SPLITS

__all__ = ["ICLEmergence"]

_BURSTINESS = (0.0, 0.25, 0.5, 0.75, 1.0)
_EXPONENTS = {"uniform classes": 0.0, "long tail": 1.0}
_HELD_OUT = 4  # drawings of every training class that only tests show
_LENGTH, _BURST = 8, 3


@recipe
class ICLEmergence(Recipe):
    """One network, trained on sequences of drawings with fixed labels that differ in how bursty they are and in how
    often each class comes, and asked two things.

    `in-context`: two characters that no sequence of training had, four drawings of each, called by labels drawn at
    random; which of the two is a fifth? Half is chance. `in-weights`: a new drawing of a character of training in a
    sequence that does not show it; which of all labels is it?
    """

    name = "icl-emergence"
    claim = "Networks learn in context where the sequences they are trained on are bursty, and in weights where not."
    axis = "share of bursty sequences"

    @dataclass(frozen=True)
    class Settings:
        """At these, a training takes half a minute on one core."""

        classes: int = option(200, "characters of training, each with a label of its own")
        steps: int = option(1000, "training steps")
        tasks: int = option(32, "sequences per step")
        width: int = option(64, "of a token")
        layers: int = option(2, "of the transformer")
        filters: int = option(16, "channels of the convolutions")
        size: int = option(16, "height and width of the drawings, in pixels")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        pool = omniglot(size=self.settings.size, resize="area")
        self._pool = pool.reduced(self.settings.classes)
        self._table = self._pool.table[self._pool.parts["train"]]

    def _known(self, name: str) -> Split:
        held_out = self._table[:, -_HELD_OUT:]
        return LabelledSequences(name, self._pool.examples, held_out, _LENGTH, 0.0, _BURST, asked="absent")

    def _new(self, name: str) -> Split:
        return Renamed(getattr(self._pool.episodes(2, _LENGTH // 2, 1), name), self.settings.classes)

    def tests(self) -> dict[str, TaskSource]:
        about = {**self._pool.protocol, "classes": self.settings.classes, "length": _LENGTH}
        return {
            "in-context": _source(self._new, {**about, "labels": "drawn"}),
            "in-weights": _source(self._known, {**about, "held out": f"{_HELD_OUT} drawings each"}),
        }

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings

        def network() -> InContextTransformer:
            features = Conv4(size=chosen.size, filters=chosen.filters, normalization="layer")
            return InContextTransformer(features, Categorical(chosen.classes), chosen.width, chosen.layers, heads=4)

        def trained(burstiness: float, exponent: float) -> Training:
            seen = self._table[:, :-_HELD_OUT]
            stream = LabelledSequences("train", self._pool.examples, seen, _LENGTH, burstiness, _BURST, exponent)
            return Training(stream, chosen.steps, chosen.tasks, 2e-3)

        return {
            f"{series}, {share:g} bursty": Contestant(network, trained(share, exponent), series=series, at=share)
            for series, exponent in _EXPONENTS.items()
            for share in _BURSTINESS
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        for series in _EXPONENTS:
            least, *_, most = (f"{series}, {share:g} bursty" for share in _BURSTINESS)
            for protocol in ("in-context", "in-weights"):
                found = compare(outcomes[most].runs(protocol), outcomes[least].runs(protocol), "accuracy")
                ends = f"{percent(outcomes[least], protocol)} without bursts, {percent(outcomes[most], protocol)} with"
                parts.append(f"{series}, {protocol}: {ends} them alone ({found})")
            both = max((name for name, o in outcomes.items() if o.series == series), key=partial(self._both, outcomes))
            scores = (f"{percent(outcomes[both], protocol)} {protocol}" for protocol in ("in-context", "in-weights"))
            parts.append(f"both ways are learned best with {both}: {' and '.join(scores)}")
        return "; ".join(parts).capitalize() + "."

    def _both(self, outcomes: Mapping[str, Outcome], name: str) -> float:
        """The lesser of how far both scores are on the way from chance to all right."""
        chance = {"in-context": 1 / 2, "in-weights": 1 / self.settings.classes}
        return min(
            (outcomes[name].metrics()[f"{protocol}.accuracy"].mean - least) / (1 - least)
            for protocol, least in chance.items()
        )


def _source(split: Callable[[str], Split], protocol: dict[str, Any]) -> TaskSource:
    train, validation, test = (partial(split, name) for name in SPLITS)
    return TaskSource(train, validation, test, protocol)
