"""Two objectives of two numbers whose gradients conflict: where do plain descent and balanced gradients end?

Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, and "FAMO", NeurIPS 2023.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor, nn
from torchjd.aggregation import MGDA, CAGrad, PCGrad, UPGrad
from torchjd.scalarization import FAMO

from quickstudy.evaluation import Adaptation, Probe, Scores
from quickstudy.rebuild import register
from quickstudy.recipes.one_run import OneRun
from quickstudy.recipes.recipe import Contestant, Recipe, option, recipe
from quickstudy.recipes.solvers import check_solvers
from quickstudy.reporting import Outcome, Panel
from quickstudy.reporting.svg import INK, MUTED, SERIES, panel
from quickstudy.tasks import draws
from quickstudy.training import Backward, Balanced, Sum, make_fabric

__all__ = ["BalancingToy", "Descent", "ToyRun", "pareto_front", "toy_losses"]

_STARTS = ((-8.5, 7.5), (-8.5, 5.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
_ARRIVED = 0.1  # of the front, in units of the objectives, of which each falls by tens on the way
_BOUND = -20.01  # below both objectives, which FAMO takes the logarithm of


def toy_losses(theta: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """L_i = c₁ f_i + c₂ g_i: two narrow valleys f above θ₂ = 0, two bowls g below it.

    f_1 = log max(|(−θ₁ − 7) / 2 − tanh(−θ₂)|, 5e-6) + 6      g_1 = ((−θ₁ + 7)² + 0.1 (−θ₂ − 8)²) / 10 − 20
    f_2 = log max(|(−θ₁ + 3) / 2 − tanh(−θ₂) + 2|, 5e-6) + 6  g_2 = ((−θ₁ − 7)² + 0.1 (−θ₂ − 8)²) / 10 − 20
    c_1 = max(tanh(θ₂ / 2), 0),  c_2 = max(tanh(−θ₂ / 2), 0)
    """
    first, second = theta[..., 0], theta[..., 1]
    valleys = [
        ((-first - 7) / 2 - torch.tanh(-second)).abs().clamp(min=5e-6).log() + 6,
        ((-first + 3) / 2 - torch.tanh(-second) + 2).abs().clamp(min=5e-6).log() + 6,
    ]
    bowls = [((-first + sign * 7).square() + 0.1 * (-second - 8).square()) / 10 - 20 for sign in (1, -1)]
    above, below = torch.tanh(second / 2).clamp(min=0), torch.tanh(-second / 2).clamp(min=0)
    return torch.stack([above * f + below * g for f, g in zip(valleys, bowls, strict=True)], -1)


@lru_cache
def pareto_front() -> tuple[Float[Tensor, "point 2"], Float[Tensor, "point 2"]]:
    """Where no objective can be lowered without the other rising, and the objectives there: of a fine grid around the
    bottoms of the bowls, all points that no other beats in both."""
    grid = torch.cartesian_prod(
        torch.linspace(-8, 8, 1601, dtype=torch.float64), torch.linspace(-10, -6, 401, dtype=torch.float64)
    )
    losses = toy_losses(grid)
    order = losses[:, 0].argsort()
    lowest = losses[order, 1].cummin(0).values
    new = torch.cat([torch.ones(1, dtype=torch.bool), lowest[1:] < lowest[:-1]])
    chosen = order[new]
    return grid[chosen], losses[chosen]


@register
class Descent(nn.Module):
    """Paths of a method from several starts.

    Args:
        starts: how many.
        points: kept of every path, its beginning and its end among them.
    """

    normalization = "none"
    paths: Tensor

    def __init__(self, starts: int, points: int) -> None:
        super().__init__()
        self.starts, self.points = starts, points
        self.register_buffer("paths", torch.zeros(starts, points, 2, dtype=torch.float64))


class _Point(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        return toy_losses(self.theta)


@dataclass(frozen=True)
class _Starts:
    """What everyone begins at; the test tasks of the recipe."""

    test: Float[Tensor, "start 2"]


@dataclass(frozen=True)
class _Method(Contestant):
    backward: Callable[[nn.Module], Backward] = lambda _: Sum()


@recipe
class BalancingToy(Recipe):
    """Adam on the two numbers, from the five starts of the papers and others drawn from the square [−10, 10]².

    What is scored is the distance of both objectives, at the end, from the nearest point of the Pareto front; whoever
    stops in one of the valleys is far away. A start is to this recipe what a task is to others. It takes about seven
    minutes on one core.
    """

    name = "balancing-toy"
    claim = "From where plain descent gets stuck between two valleys, balanced gradients go on to the Pareto front."
    metric = "distance"
    drawn: ClassVar[int] = 150  # points of a path that are kept

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(2000, "steps of Adam")
        rate: float = option(0.02, "its rate")
        more: int = option(5, "starts that are drawn at random, beside the five of the papers")

    def tests(self) -> dict[str, Any]:
        drawn = 20 * draws.uniforms(0, "toy starts", 0, max(1, self.settings.more), 2)[: self.settings.more] - 10
        return {"starts": _Starts(torch.tensor([*_STARTS, *drawn.tolist()], dtype=torch.float64))}

    def describe_tests(self, tests: Mapping[str, Any]) -> dict[str, Any]:
        starts = tests["starts"].test
        return {"starts": {"what": "two objectives of two numbers", "tasks": len(starts)}}

    def contestants(self) -> Mapping[str, Contestant]:
        methods: dict[str, Callable[[], Any]] = {
            "CAGrad": partial(CAGrad, 0.5),
            "MGDA": MGDA,
            "PCGrad": PCGrad,
            "FAMO": partial(FAMO, 2, torch.tensor([_BOUND, _BOUND], dtype=torch.float64)),
            "UPGrad": UPGrad,
        }

        def balanced(method: Callable[[], Any], module: nn.Module) -> Backward:
            return Balanced(method(), module)

        build = partial(Descent, len(_STARTS) + self.settings.more, min(self.drawn, self.settings.steps + 1))
        check_solvers(methods)
        return {
            **{name: _Method(build, backward=partial(balanced, method)) for name, method in methods.items()},
            "plain sum": _Method(build, role="baseline"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        ends = {name: outcome.runs("starts")[0].values["distance"] for name, outcome in outcomes.items()}
        said = ", ".join(f"{name} {int((distance < _ARRIVED).sum())}" for name, distance in ends.items())
        return f"Of {len(next(iter(ends.values())))} starts so many end within {_ARRIVED} of the Pareto front: {said}."

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        return [_drawn(f"toy-{number}", name, each.paths) for number, (name, each) in enumerate(learners.items())]


class ToyRun(OneRun):
    """A method from every start; there is nothing to train."""

    recipe: BalancingToy

    def probes(self, learner: Any, tests: dict[str, Any]) -> list[Probe]:
        return []

    def adaptation(self, learner: Any, tests: dict[str, Any]) -> Adaptation | None:
        return None

    def _trained(self) -> tuple[Any, float]:
        assert isinstance(self.contestant, _Method)
        descent, chosen = self.contestant.build(), self.recipe.settings
        fabric = make_fabric("cpu")
        kept = np.unique(np.linspace(0, chosen.steps, descent.points).round().astype(int))
        for number, start in enumerate(self.recipe.tests()["starts"].test):
            point = _Point(start)
            backward, optimizer = self.contestant.backward(point), torch.optim.Adam(point.parameters(), chosen.rate)
            path = [start]
            for _ in range(chosen.steps):
                optimizer.zero_grad()
                backward(point(), fabric)
                optimizer.step()
                if getattr(backward, "looks_again", False):
                    backward.after(point(), fabric)  # type: ignore[attr-defined]
                path.append(point.theta.detach().clone())
            descent.paths[number] = torch.stack([path[step] for step in kept])
        return descent, 0.0

    def _scored(self, learner: Any, tests: dict[str, Any]) -> dict[str, Scores]:
        ends = toy_losses(learner.paths[:, -1])
        distance = torch.cdist(ends, pareto_front()[1]).amin(1)
        values = {"distance": distance, "loss 1": ends[:, 0], "loss 2": ends[:, 1]}
        asked = int(1000 * tests["starts"].test.abs().sum())
        return {"starts": Scores({name: each.numpy().copy() for name, each in values.items()}, asked=asked)}


def _drawn(name: str, title: str, paths: Float[Tensor, "start point 2"]) -> Panel:
    """The paths over contours of L₁ + L₂; the Pareto front is the thick line."""
    side = torch.linspace(-10.5, 10.5, 90, dtype=torch.float64)
    first, second = torch.meshgrid(side, side, indexing="xy")
    heights = toy_losses(torch.stack([first, second], -1)).sum(-1).numpy()
    front = pareto_front()[0].numpy()

    def draw(axes: Axes) -> None:
        axes.contour(first.numpy(), second.numpy(), heights, levels=12, colors=MUTED, linewidths=0.5, alpha=0.7)
        axes.plot(front[:: max(1, len(front) // 20), 0], front[:: max(1, len(front) // 20), 1], color=INK, lw=3)
        for number, path in enumerate(paths.numpy()):
            colour = SERIES[number % len(SERIES)]
            axes.plot(path[:, 0], path[:, 1], color=colour, lw=1.3)
            axes.plot(*path[0], marker="o", ms=4, color=colour)
            axes.plot(*path[-1], marker="X", ms=6, color=colour)
        axes.grid(visible=False)
        axes.set(xlabel="θ₁", ylabel="θ₂", xlim=(-10.5, 10.5), ylim=(-10.5, 10.5), aspect="equal")

    ends = ", ".join(f"({a:.1f}, {b:.1f})" for a, b in paths[:, -1].tolist())
    alt = f"Paths of {title} over contours of the sum of both objectives; they end at {ends}."
    return panel(name, title, alt, draw, 320, "● start, ✖ end; the thick line is the Pareto front")
