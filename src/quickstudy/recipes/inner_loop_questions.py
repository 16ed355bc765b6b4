"""Does first order lose accuracy, and when? Do more inner steps help? Learned inner rates? Which normalization?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.evaluation import compare
from quickstudy.learners import MAML, FirstOrder, MAMLPlusPlus, MetaSGD
from quickstudy.networks import Conv4, Policy
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Categorical, TaskSource, omniglot

__all__ = ["InnerLoopQuestions"]

_WAYS = 5
_EXACT, _FIRST, _LEARNED = "MAML", "first-order MAML", "learned rates"
_SERIES, _STEPS = (_EXACT, _FIRST, _LEARNED), (1, 3, 5)
_POLICIES: tuple[Policy, ...] = ("transductive", "task", "layer", "none")
_BY_STEP = "scales, shifts and rates by step"
_NORMALIZED = 3  # inner steps at which normalization is asked about


@recipe
class InnerLoopQuestions(Recipe):
    """One network, one budget, 5-way 1-shot Omniglot, small drawings; what differs is the inner loop.

    It takes 1, 3 and 5 steps, with second derivatives, without, and with a learned rate for every weight and step
    (Meta-SGD). Normalization, by statistics of the support in all of these, follows the other policies at 3 steps; and
    there each step has scales and shifts of its own (MAML++ without its losses of all steps, which brings learned rates
    for each layer and step).
    """

    name = "inner-loop-questions"
    claim = "Second derivatives, more inner steps and learned inner rates each make MAML better, normalization most."
    axis = "inner steps"
    test_tasks = 300  # each with an inner loop, for fourteen learners of three seeds

    @dataclass(frozen=True)
    class Settings:
        """A budget that two cores can train."""

        steps: int = option(300, "training steps")
        tasks: int = option(8, "tasks per step")
        inner_rate: float = option(0.2, "step size, or where the learned ones begin")
        filters: int = option(16, "channels of the convolutions")
        size: int = option(16, "height and width of the drawings, in pixels")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._pool = omniglot(size=self.settings.size, resize="area")

    def tests(self) -> dict[str, TaskSource]:
        return {f"{_WAYS}way1shot": self._pool.episodes(_WAYS, 1, 5)}

    def contestants(self) -> dict[str, Contestant]:
        chosen, likelihood = self.settings, Categorical(_WAYS)
        training = Training(self._pool.episodes(_WAYS, 1, 1).train, chosen.steps, chosen.tasks, 3e-3)

        def network(policy: Policy = "support") -> Conv4:
            return Conv4(size=chosen.size, filters=chosen.filters, normalization=policy)

        def asked(build: Callable[[], MAML], series: str | None = None, at: int | None = None) -> Contestant:
            return Contestant(build, training, batch_size=16, series=series, at=at)

        def loop(series: str, steps: int) -> MAML:
            if series == _LEARNED:
                return MetaSGD(network(), likelihood, steps, chosen.inner_rate, per_step=True)
            way = FirstOrder() if series == _FIRST else None
            return MAML(network(), likelihood, steps, chosen.inner_rate, meta_gradient=way)

        def normalized(policy: Policy) -> MAML:
            return MAML(network(policy), likelihood, _NORMALIZED, chosen.inner_rate)

        def by_step() -> MAML:
            return MAMLPlusPlus(network(), likelihood, _NORMALIZED, chosen.inner_rate, multi_step_losses=0)

        return {
            **{
                _name(series, steps): asked(partial(loop, series, steps), series, steps)
                for series in _SERIES
                for steps in _STEPS
            },
            **{_name(_EXACT, _NORMALIZED, policy): asked(partial(normalized, policy)) for policy in _POLICIES},
            _name(_EXACT, _NORMALIZED, _BY_STEP): asked(by_step),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        protocol = next(iter(self.tests()))

        def against(a: str, b: str) -> str:
            return str(compare(outcomes[a].runs(protocol), outcomes[b].runs(protocol), "accuracy"))

        def against_exact(series: str) -> str:
            return "; ".join(f"at {k}, {against(_name(series, k), _name(_EXACT, k))}" for k in _STEPS)

        more = against(_name(_EXACT, _STEPS[-1]), _name(_EXACT, _STEPS[0]))
        plain = _name(_EXACT, _NORMALIZED)
        others = "; ".join(f"{way}, {against(f'{plain}, {way}', plain)}" for way in (*_POLICIES, _BY_STEP))
        return (
            f"At {protocol}. First order against second, by inner steps: {against_exact(_FIRST)}. {_STEPS[-1]} inner "
            f"steps against {_STEPS[0]}: {more}. Learned rates against fixed ones, by inner steps: "
            f"{against_exact(_LEARNED)}. Normalization against that by the support's statistics, at {_NORMALIZED} "
            f"inner steps: {others}."
        )


def _name(series: str, steps: int, normalized: str = "") -> str:
    return f"{series}, {steps} step{'s' if steps > 1 else ''}" + (f", {normalized}" if normalized else "")
