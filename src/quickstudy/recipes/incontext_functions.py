"""Trees, sparse lines and networks learned in context, beside what is made for each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from quickstudy.evaluation import LinearOracle
from quickstudy.learners import (
    GradientBoosting,
    GreedyTree,
    Lasso,
    Learner,
)
from quickstudy.recipes.function_learners import function_learners
from quickstudy.recipes.recipe import Contestant, Recipe, Role, Training, option, recipe
from quickstudy.reporting import Outcome, best_of
from quickstudy.tasks import TaskSource, decision_trees, linear_functions, relu_networks

__all__ = ["InContextFunctions"]

_EXAMPLES = (24, 2, 6, 12, 36)
_FAMILIES = ("trees", "sparse", "relu")


@recipe
class InContextFunctions(Recipe):
    """Sections 4 and 5 of Garg et al. (2022) in few dimensions: errors after 2 … 24 examples, and after 36, which is
    more than in training.

    The references are those of the paper: greedy trees and boosting for trees, lasso for sparse lines (where the best
    possible is known too), least squares for networks, and nearest neighbours everywhere.
    """

    name = "incontext-functions"
    claim = "Transformers learn functions of a class in context from fewer examples than what is made for the class."
    metric = "mse"
    axis = "examples"

    @dataclass(frozen=True)
    class Settings:
        """The family and the budget."""

        family: str = option("trees", "class of functions: trees, sparse or relu")
        steps: int = option(4000, "training steps")
        tasks: int = option(32, "tasks per step")
        dimensions: int = option(8, "length of an input")
        depth: int = option(2, "of trees: questions from the root to a leaf")
        sparsity: int = option(2, "of sparse lines: coordinates that count")
        hidden: int = option(16, "of networks: hidden units")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if self.settings.family not in _FAMILIES:
            raise ValueError(f"family must be one of {', '.join(_FAMILIES)}, got {self.settings.family!r}")

    def _source(self, shots: int | tuple[int, int], queries: int = 20) -> TaskSource:
        chosen = self.settings
        make = {
            "trees": partial(decision_trees, chosen.dimensions, chosen.depth),
            "sparse": partial(linear_functions, chosen.dimensions, sparsity=chosen.sparsity),
            "relu": partial(relu_networks, chosen.dimensions, chosen.hidden),
        }[chosen.family]
        return make(shots=shots, queries=queries)

    def tests(self) -> dict[str, TaskSource]:
        return {f"{shots}shot": self._source(shots) for shots in _EXAMPLES}

    def tests_at(self) -> dict[str, float]:
        return {f"{shots}shot": shots for shots in _EXAMPLES}

    def _references(self) -> dict[str, tuple[Callable[[], Learner], Role]]:
        d, least_squares = self.settings.dimensions, partial(LinearOracle, self.settings.dimensions)
        if self.settings.family == "trees":
            return {"greedy tree": (GreedyTree, "baseline"), "boosted trees": (GradientBoosting, "baseline")}
        if self.settings.family == "sparse":
            return {
                "lasso": (lambda: Lasso(0.03, intercept=False), "baseline"),
                "least squares": (least_squares, "baseline"),
                "Bayes-optimal": (lambda: LinearOracle(d, sparsity=self.settings.sparsity), "optimum"),
            }
        return {"least squares": (least_squares, "baseline")}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        source = self._source((0, max(_EXAMPLES[:-1])), queries=12)
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3)
        return {
            **function_learners(chosen.dimensions, training),
            **{
                name: Contestant(build, batch_size=100, role=role) for name, (build, role) in self._references().items()
            },
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        able = [name for name, outcome in outcomes.items() if outcome.role == "baseline"]
        parts = []
        for shots in sorted(_EXAMPLES):
            protocol = f"{shots}shot"
            best = best_of(outcomes, able, protocol, "mse")
            errors = {
                name: outcomes[name].metrics()[f"{protocol}.mse"].mean for name in ("decoder", "set transformer", best)
            }
            parts.append(f"at {protocol} " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()))
        return (
            f"Mean squared errors on {self.settings.family} (1 is that of saying 0), beside the best reference: "
            f"{'; '.join(parts)}."
        )
