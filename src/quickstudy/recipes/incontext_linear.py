"""Linear regression learned in context, beside linear regression."""

from collections.abc import Mapping
from dataclasses import dataclass

from quickstudy.evaluation import LinearOracle, compare
from quickstudy.recipes.function_learners import function_learners
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import TaskSource, linear_functions

__all__ = ["InContextLinear"]

_SCALES = (2, 3)


@recipe
class InContextLinear(Recipe):
    """Section 3 of Garg et al. (2022) in few dimensions: errors after 1 … 2 d examples, after 3 d, which is more than
    in training, and at inputs twice and three times as large as there.

    The decoder learns from every prefix of a support, the set transformer from whole supports of any size; both see the
    same tasks. The tokens of the decoder's labels carry their inputs: without, it had learned nothing after 400 steps,
    when with them it had begun to; whether it would have later was not tried.
    """

    name = "incontext-linear"
    claim = "Transformers trained on linear functions learn new ones in context nearly as well as least squares does."
    metric = "mse"
    axis = "examples"

    @dataclass(frozen=True)
    class Settings:
        """The budget."""

        steps: int = option(6000, "training steps")
        tasks: int = option(32, "tasks per step")
        dimensions: int = option(5, "length of an input")
        noise: float = option(0.0, "standard deviation of the noise on y")

    @property
    def _most(self) -> int:
        """Examples that the longest support of training has."""
        return 2 * self.settings.dimensions

    def _source(self, shots: int | tuple[int, int], queries: int = 20, scale: float = 1.0) -> TaskSource:
        return linear_functions(self.settings.dimensions, shots, queries, self.settings.noise, scale=scale)

    def _examples(self) -> list[int]:
        """Numbers of examples that are asked for; twice the dimensions first, as it is what is compared."""
        d = self.settings.dimensions
        return list(dict.fromkeys((2 * d, 1, max(1, d // 2), d, d + 1, 3 * d)))

    def tests(self) -> dict[str, TaskSource]:
        return {
            **{f"{shots}shot": self._source(shots) for shots in self._examples()},
            **{
                f"scale{scale} {shots}shot": self._source(shots, scale=scale)
                for scale in _SCALES
                for shots in dict.fromkeys((self.settings.dimensions, self._most))
            },
        }

    def tests_at(self) -> dict[str, float]:
        return {name: float(name.split()[-1].removesuffix("shot")) for name in self.tests()}

    def contestants(self) -> dict[str, Contestant]:
        chosen = self.settings
        source = self._source((0, self._most), queries=10)
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3)
        d, best = chosen.dimensions, "ridge regression" if chosen.noise else "least squares"
        return {
            **function_learners(d, training),
            best: Contestant(lambda: LinearOracle(d, chosen.noise), batch_size=100, role="optimum"),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        parts = []
        d, (*_, best) = self.settings.dimensions, outcomes
        for protocol in (
            f"{d}shot",
            f"{2 * d}shot",
            f"{3 * d}shot",
            *(f"scale{scale} {2 * d}shot" for scale in _SCALES),
        ):
            errors = {name: outcome.metrics()[f"{protocol}.mse"].mean for name, outcome in outcomes.items()}
            parts.append(f"at {protocol} " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()))
        gaps = [
            f"{name} against {best} at {2 * d}shot: "
            f"{compare(outcomes[name].runs(f'{2 * d}shot'), outcomes[best].runs(f'{2 * d}shot'), 'mse')}"
            for name in ("decoder", "set transformer")
        ]
        return f"Mean squared errors (1 is that of saying 0 at scale 1): {'; '.join(parts)}. {'. '.join(gaps)}."
