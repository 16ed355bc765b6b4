"""Two digits laid over one another: methods of balancing gradients, beside tuned weights and separate networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn
from torchjd.aggregation import IMTLG, MGDA, AlignedMTL, CAGrad, GradVac, NashMTL, PCGrad, UPGrad
from torchjd.scalarization import DWA, FAMO, STCH, UW, Random

from quickstudy.evaluation import compare
from quickstudy.multitask import NamedTasks, Objective, SeparateNetworks, SharedBottom, multi_mnist
from quickstudy.networks import PerExample
from quickstudy.rebuild import register
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, summed, tuned
from quickstudy.recipes.recipe import Training, option, recipe
from quickstudy.recipes.solvers import check_solvers
from quickstudy.reporting import Outcome, Panel, final_cosine_panel
from quickstudy.tasks import Categorical
from quickstudy.training import Backward, Balanced, GradNorm

__all__ = ["MultiMNISTBalancing"]

_TASKS = ("left", "right")
_PAIRS = 1024  # on which cosines are taken
_WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the left digit


@recipe
class MultiMNISTBalancing(NamedRecipe):
    """A small network of two strided convolutions, everyone with the same steps, batches and rate of Adam.

    Separate networks are of that size each. The weights of the losses are tuned on the validation split; every other
    method is as published, without tuning. A thousand steps are two and a half rounds of the 50,000 pairs, so that
    accuracies lie below those of a hundred rounds that papers print (97.3 and 95.9 at best, 96.5 and 95.0 with
    equal weights). Five seeds of everyone take about 35 minutes on one core.
    """

    name = "multimnist-balancing"
    claim = "Balancing gradients beats weights of the losses that were tuned, and networks that share nothing."
    metric = "accuracy"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(1000, "training steps")
        batch_size: int = option(128, "pairs of digits a step")
        rate: float = option(3e-3, "highest learning rate")
        pairs: int = option(50_000, "training pairs; a fifth as many to choose by, and to test on")

    def data(self) -> NamedTasks:
        pairs = self.settings.pairs
        return multi_mnist(train=pairs, validation=max(1, pairs // 5), test=max(1, pairs // 5))

    def objectives(self) -> dict[str, Objective]:
        return {task: Objective(Categorical(10)) for task in _TASKS}

    def contestants(self) -> dict[str, NamedContestant]:
        chosen, data = self.settings, self.tasks
        training = Training(
            data.train,
            chosen.steps,
            chosen.batch_size,
            chosen.rate,
            validation=data.validation,
            validation_size=min(2000, data.validation.size or 2000),
            validations=5,
        )

        def shared(backward: Callable[[nn.Module], Backward], left: float = 0.5) -> NamedContestant:
            weights = dict(zip(_TASKS, (2 * left, 2 - 2 * left), strict=True))
            known = {task: Objective(Categorical(10), weight) for task, weight in weights.items()}
            return NamedContestant(lambda: SharedBottom(DigitNetwork(), known), training, backward=backward)

        epoch = max(1, chosen.pairs // chosen.batch_size)

        def balanced(method: Callable[[], Any], module: nn.Module) -> Backward:
            made = method()
            return Balanced(made, module, epoch=epoch if isinstance(made, DWA) else None)

        methods: dict[str, Callable[[], Any]] = {
            "UW": partial(UW, 2),
            "DWA": DWA,
            "FAMO": partial(FAMO, 2),
            "STCH": partial(STCH, 1.0),
            "random weights": Random,
            "GradNorm": GradNorm,
            "MGDA": MGDA,
            "PCGrad": PCGrad,
            "GradVac": GradVac,
            "CAGrad": partial(CAGrad, 0.4),
            "IMTL-G": IMTLG,
            "Aligned-MTL": AlignedMTL,
            "Nash-MTL": partial(NashMTL, 2),
            "UPGrad": UPGrad,
        }
        check_solvers(methods)
        return {
            "tuned weights": tuned({f"{left} left": shared(summed, left) for left in _WEIGHTS}),
            "equal weights": replace(shared(summed), watched=20),
            **{name: shared(partial(balanced, made)) for name, made in methods.items()},
            "separate networks": NamedContestant(
                partial(SeparateNetworks, DigitNetwork(), self.objectives()), training, backward=summed, role="baseline"
            ),
        }

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        """Whether both digits pull what they share in one direction, once everyone is trained."""
        sharing = {name: each for name, each in learners.items() if isinstance(each, SharedBottom)}
        if not sharing:
            return super().figures(learners)
        batch = self.tasks.train.draw(0, min(_PAIRS, self.settings.pairs), 0)
        return [*super().figures(learners), final_cosine_panel(sharing, batch)]

    def answer(self, outcomes: Mapping[str, Outcome]) -> str | None:
        runs = {name: outcome.runs("all") for name, outcome in outcomes.items()}
        if not {"tuned weights", "separate networks"} <= set(runs):
            return None
        methods = [name for name in runs if name not in ("tuned weights", "equal weights", "separate networks")]
        against = {name: compare(runs[name], runs["tuned weights"], self.metric) for name in methods}
        better = [f"{name} ({each})" for name, each in against.items() if each.better]
        worse = [f"{name} ({each})" for name, each in against.items() if each.better is False]
        alone = compare(runs["tuned weights"], runs["separate networks"], self.metric)
        return (
            f"Of {len(methods)} balancing methods, better than tuned weights in the mean of both digits: "
            f"{', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}; of the others no difference is "
            f"shown. Tuned weights against separate networks: {alone}."
        )


@register
class DigitNetwork(PerExample):
    """Two strided convolutions and a layer, on images of 36 × 36.

    Args:
        filters: of the first convolution; the second has twice as many.
        width: length of the feature vector.
    """

    def __init__(self, filters: int = 16, width: int = 64) -> None:
        layers = nn.Sequential(
            nn.Conv2d(1, filters, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(filters, 2 * filters, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * filters * 7 * 7, width),
            nn.ReLU(),
        )
        super().__init__(layers, width, (1, 36, 36))
        self.filters = filters
