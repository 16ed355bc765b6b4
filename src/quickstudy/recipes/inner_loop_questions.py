"""Does first order lose accuracy, and when? Do more inner steps help? Do learned inner rates help?"""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.evaluation import compare
from quickstudy.learners import MAML, FirstOrder, MetaSGD
from quickstudy.networks import Conv4
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["InnerLoopQuestions"]

_WAYS = 5
_EXACT, _FIRST, _LEARNED = "MAML", "first-order MAML", "learned rates"


@recipe
class InnerLoopQuestions(Recipe):
    """One network, one budget, 5-way 1-shot Omniglot; what differs is the inner loop: 1, 3 and 5 steps, with second
    derivatives, without, and with a learned rate for every weight and step (Meta-SGD)."""

    name = "inner-loop-questions"
    claim = "Second derivatives, more inner steps and learned inner rates each make MAML better."
    axis = "inner steps"

    @dataclass(frozen=True)
    class Settings:
        """A budget that two cores can train."""

        steps: int = option(600, "training steps")
        tasks: int = option(8, "tasks per step")
        inner_rate: float = option(0.2, "step size, or where the learned ones begin")
        filters: int = option(16, "channels of the convolutions")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot()

    def tests(self) -> dict[str, TaskSource]:
        return {f"{_WAYS}way{shots}shot": self._pool.episodes(_WAYS, shots, 5) for shots in (1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen, likelihood = self.settings, Categorical(_WAYS)
        training = Training(self._pool.episodes(_WAYS, 1, 1).train, chosen.steps, chosen.tasks, 3e-3)

        def network() -> Conv4:
            return Conv4(filters=chosen.filters, normalization="support")

        def contestant(series: str, steps: int) -> Contestant:
            def build() -> MAML:
                if series == _LEARNED:
                    return MetaSGD(network(), likelihood, steps, chosen.inner_rate, per_step=True)
                way = FirstOrder() if series == _FIRST else None
                return MAML(network(), likelihood, steps, chosen.inner_rate, meta_gradient=way)

            return Contestant(build, training, batch_size=16, series=series, at=steps)

        return {_name(series, steps): contestant(series, steps) for series in _SERIES for steps in _STEPS}

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        protocol = next(iter(self.tests()))

        def against(a: str, b: str) -> str:
            return str(compare(outcomes[a].runs(protocol), outcomes[b].runs(protocol), "accuracy"))

        first = "; ".join(f"at {k}, {against(_name(_FIRST, k), _name(_EXACT, k))}" for k in _STEPS)
        learned = "; ".join(f"at {k}, {against(_name(_LEARNED, k), _name(_EXACT, k))}" for k in _STEPS)
        more = against(_name(_EXACT, _STEPS[-1]), _name(_EXACT, _STEPS[0]))
        return (
            f"At {protocol}. First order against second, by inner steps: {first}. {_STEPS[-1]} inner steps against "
            f"{_STEPS[0]}: {more}. Learned rates against fixed ones, by inner steps: {learned}."
        )


_SERIES, _STEPS = (_EXACT, _FIRST, _LEARNED), (1, 3, 5)


def _name(series: str, steps: int) -> str:
    return f"{series}, {steps} step{'s' if steps > 1 else ''}"
