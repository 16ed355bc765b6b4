"""One regression task in company that is dialled from the same task to an unrelated one, and to random labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from quickstudy.evaluation import relative_change, sharing_verdict
from quickstudy.evaluation.relative import over_seeds
from quickstudy.multitask import (
    MultiGateMixture,
    NamedModule,
    NamedSplit,
    NamedTasks,
    RelatedTasks,
    SeparateNetworks,
    SharedBottom,
    related_regression,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe
from quickstudy.recipes.recipe import Contestant, Training, option, recipe
from quickstudy.reporting import Outcome, Panel, heat_panel
from quickstudy.reporting.gates import mean_gates
from quickstudy.tasks import Gaussian

__all__ = ["RelatednessDial"]

_DIAL = (1.0, 0.9, 0.5, 0.0, -1.0)
_INPUTS = 20
_ALONE = "alone"


@recipe
class RelatednessDial(NamedRecipe):
    """The tasks of the MMoE paper: weights at the cosine p, summed with waves of them. Few examples of each.

    The first task is the same at every p, and it alone is scored: what changes is with whom it is trained. Everyone has
    the same steps and sees the same examples of it. A network, a trunk and an expert are of one size. Five seeds of
    everyone take four to nine minutes on one core.
    """

    name = "relatedness-dial"
    claim = "Sharing helps a task in related company and harms it in unrelated company; verdicts over seeds tell which."
    metric = "rmse"
    axis = "cosine p between the weights of the two tasks"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(400, "training steps")
        examples: int = option(60, "training examples of each task")
        width: int = option(8, "units of a network, a trunk or an expert")
        experts: int = option(4, "experts of the mixture")
        rate: float = option(5e-3, "highest learning rate")

    def related(self, p: float | None) -> RelatedTasks:
        """The first task and a second one at p; None for random labels."""
        return related_regression(
            p, examples=self.settings.examples, held_out=1000, inputs=_INPUTS, scale=2.0, waves=2, noise=0.1
        )

    def data(self) -> NamedTasks:
        tasks = self.related(None)
        splits = (tasks.train, tasks.validation, tasks.test)
        return NamedTasks(*(NamedSplit(split.name, {"first": split.data["first"]}) for split in splits))  # type: ignore[attr-defined]

    def objectives(self) -> dict[str, Gaussian]:
        return {"first": Gaussian()}

    def contestants(self) -> dict[str, Contestant]:
        chosen, data = self.settings, self.tasks
        both = dict.fromkeys(("first", "second"), Gaussian())

        def network() -> nn.Module:
            return MLP(_INPUTS, (chosen.width,))

        def bottom() -> NamedModule:
            return SharedBottom(network(), both)

        def mixture() -> NamedModule:
            return MultiGateMixture(Inputs(_INPUTS), both, chosen.experts, (chosen.width,))

        def training(tasks: NamedTasks) -> Training:
            return Training(
                tasks.train,
                chosen.steps,
                min(64, chosen.examples),
                chosen.rate,
                validation=data.validation,
                validation_size=1000,
            )

        contestants: dict[str, Contestant] = {}
        for series, build in (("shared bottom", bottom), ("MMoE", mixture)):
            for p in (*_DIAL, None):
                about = {"series": series, "at": p} if p is not None else {}
                trained = training(self.related(p))
                contestants[_name(series, p)] = NamedContestant(build, trained, **about)  # type: ignore[arg-type]
        contestants[_ALONE] = NamedContestant(
            lambda: SeparateNetworks(network(), {"first": Gaussian()}), training(data), role="baseline"
        )
        return contestants

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        def scores(name: str) -> np.ndarray:
            return np.stack([run.values["rmse"] for run in outcomes[name].runs("first")])

        parts = []
        for series in ("shared bottom", "MMoE"):
            found = []
            for p in (*_DIAL, None):
                changes = relative_change(scores(_name(series, p)), scores(_ALONE), [False])[:, 0]
                value = over_seeds(changes)
                half = "" if np.isnan(value.ci95) else f" ± {100 * value.ci95:.1f}"
                company = "random labels" if p is None else f"p = {p:g}"
                verdict = sharing_verdict(changes, changes)
                found.append(f"{company} {100 * value.mean:+.1f}{half}%: {verdict}")
            parts.append(f"{series}: {'; '.join(found)}.")
        return "Change of the rmse of the first task against alone, positive is better. " + " ".join(parts)

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        """The gates of both tasks in every company, one below the other."""
        found: dict[str, np.ndarray] = {}
        for p in (*_DIAL, None):
            if (module := learners.get(_name("MMoE", p))) is not None:
                company = "random" if p is None else f"p = {p:g}".replace("-", "−")
                gates, _ = mean_gates(module, self.related(p).test)
                found.update({f"{company}, {task}": share for task, share in gates.items()})
        if not found:
            return []
        shares = np.stack(list(found.values()))
        columns = [str(number + 1) for number in range(shares.shape[1])]
        caption = (
            "the share of each expert in a task's mixture, mean over its test examples; every p has experts of its "
            "own, so that only the two rows of a pair are to be compared"
        )
        lines = range(2, len(shares), 2)
        title = "Gates of MMoE at every p"
        return [
            heat_panel(
                "gates", title, shares, list(found), columns, ("expert", ""), caption, signed=False, row_lines=lines
            )
        ]


def _name(series: str, p: float | None) -> str:
    # Names of folders have no signs.
    return f"{series}, random labels" if p is None else f"{series}, p = {p:g}".replace("-", "minus ")
