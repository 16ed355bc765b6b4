"""An LSTM as the learning algorithm on Omniglot: one shot, two to five ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.learners import NearestNeighbour, PrototypicalNetwork, RecurrentLearner
from quickstudy.networks import Conv4, Policy
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["OmniglotLSTM"]

_WAYS, _QUERIES = (2, 3, 4, 5), 5


@recipe
class OmniglotLSTM(Recipe):
    """An LSTM for each number of ways, one for all of them, and prototypes; as many training steps for each.

    Where a learner was trained for fewer ways than it is asked for, it has no answer: n/a.
    """

    name = "omniglot-lstm"
    claim = "An LSTM that has read one drawing of each character tells new ones apart, less well the more there are."
    main = "LSTM"
    axis = "ways"

    @dataclass(frozen=True)
    class Settings:
        """A budget that one core can train."""

        steps: int = option(10_000, "training steps")
        tasks: int = option(16, "tasks per step, of one support drawing and five queries of each character")
        width: int = option(128, "width of the LSTM's state")
        filters: int = option(16, "channels of the convolutions")
        size: int = option(16, "height and width of the drawings, in pixels")
        rate: float = option(2e-3, "highest learning rate")
        labels: str = option("beside", "labels beside their drawings, or shifted to the drawing that follows")
        normalization: str = option("support", "normalization policy of the networks")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot(size=self.settings.size, resize="area")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{ways}way1shot": self._pool.episodes(ways, 1, _QUERIES) for ways in _WAYS}

    def tests_at(self) -> dict[str, float]:
        return {f"{ways}way1shot": ways for ways in _WAYS}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings

        def trained(ways: int | tuple[int, int]) -> Training:
            return Training(self._pool.episodes(ways, 1, _QUERIES).train, chosen.steps, chosen.tasks, chosen.rate)

        def network(normalization: Policy = chosen.normalization) -> Conv4:
            return Conv4(size=chosen.size, filters=chosen.filters, normalization=normalization)

        def lstm(ways: int) -> RecurrentLearner:
            return RecurrentLearner(network(), Categorical(ways), chosen.width, labels=chosen.labels)

        most = max(_WAYS)
        return {
            "LSTM": Contestant(partial(lstm, most), trained((min(_WAYS), most))),
            **{f"LSTM, {ways}-way": Contestant(partial(lstm, ways), trained(ways)) for ways in _WAYS},
            "prototypical": Contestant(lambda: PrototypicalNetwork(network("layer")), trained(most)),
            "nearest neighbour": Contestant(NearestNeighbour, role="baseline"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        def along(name: str) -> str:
            scores = (outcomes[name.format(ways)].metrics()[f"{ways}way1shot.accuracy"] for ways in _WAYS)
            return ", ".join(f"{100 * score.mean:.1f} ± {100 * score.ci95:.1f}" for score in scores)

        ways = ", ".join(map(str, _WAYS))
        return (
            f"Accuracy in percent at {ways} ways: of an LSTM trained for each, {along('LSTM, {}-way')}; of one for "
            f"all, {along('LSTM')}; of prototypes, {along('prototypical')}; of the nearest neighbour, "
            f"{along('nearest neighbour')}."
        )
