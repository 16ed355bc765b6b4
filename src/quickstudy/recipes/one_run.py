"""One contestant of a recipe, trained with one seed, scored and looked at; what is done already is read from disk."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from quickstudy import progress
from quickstudy.evaluation import (
    Adaptation,
    Kept,
    Probe,
    Scores,
    evaluate,
    inspect_adaptation,
    load_scores,
    probe,
    save_scores,
)
from quickstudy.files import write_text
from quickstudy.learners import GradientLearner, Learner
from quickstudy.rebuild import load, save
from quickstudy.recipes.recipe import Contestant, Recipe, Training
from quickstudy.tasks import TaskSource
from quickstudy.training import fit

__all__ = ["PREDICTOR", "WEIGHTS", "OneRun", "with_weights"]

WEIGHTS, PREDICTOR = "learner.safetensors", "predictor.safetensors"
_PROBED = 100  # test tasks that failure probes are made on, and that adaptation is followed on


@dataclass(frozen=True)
class OneRun:
    """One contestant, one seed.

    Attributes:
        recipe: of which it is a part.
        name: the contestant's.
        contestant: what is built, trained and scored.
        seed: of training.
        folder: where everything about it is written.
        device: as for `fit`.
    """

    recipe: Recipe
    name: str
    contestant: Contestant
    seed: int
    folder: Path
    device: str

    def finish(self, tests: dict[str, Any]) -> tuple[Learner, dict[str, Scores], float]:
        """Train and score, as far as that is not done; the learner, its scores and the seconds of training."""
        weights, scored, timed = (self.folder / name for name in (WEIGHTS, "scores.safetensors", "seconds.json"))
        if scored.exists():
            learner = load(weights)
            self._keep_predictor(learner)  # which an older version did not write
            return learner, load_scores(scored), json.loads(timed.read_text())
        progress.console.log(f"{self.recipe.name}: {self.name}, seed {self.seed}")
        learner, seconds = self._trained()
        learner = learner.to("cpu").eval()
        save(learner, weights)
        self._keep_predictor(learner)
        scores = self._scored(learner, tests)
        write_text(timed, json.dumps(seconds))
        save_scores(scores, scored)
        return learner, scores, seconds

    def _keep_predictor(self, learner: Any) -> None:
        path = self.folder / PREDICTOR
        if not path.exists() and (predictor := self.recipe.predictor(learner)) is not None:
            save(predictor, path)

    def describe(self) -> dict[str, Any] | None:
        """How the contestant was trained, for the card; None when it was not."""
        if self.contestant.like is not None:
            return {"weights of": self.contestant.like}
        return None if self.contestant.training is None else self.contestant.training.describe()

    def _trained(self) -> tuple[Any, float]:
        """The learner after training, and the seconds that it took."""
        return self._fitted(self.contestant, self.folder)

    def _fitted(self, contestant: Contestant, folder: Path) -> tuple[Any, float]:
        """What a contestant builds, trained."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            learner = contestant.build()
        training = contestant.training
        if training is None:
            return learner, 0.0
        arguments = self._arguments(contestant, training, learner)
        history = fit(
            learner, training.tasks, seed=self.seed, device=self.device, folder=folder, resume=True, **arguments
        )
        self._keep(arguments, folder)
        return learner, history.seconds

    def _arguments(self, contestant: Contestant, training: Training, learner: Any) -> dict[str, Any]:
        """Those of `fit` that depend on how it is trained."""
        return training.arguments()

    def _keep(self, arguments: dict[str, Any], folder: Path) -> None:
        """Write down what a training found out beside the weights; by default nothing."""

    def _scored(self, learner: Any, tests: dict[str, Any]) -> dict[str, Scores]:
        """The scores by protocol."""
        kept: Kept = []
        return {
            name: evaluate(
                learner,
                source.test,
                tasks=self.recipe.test_tasks,
                batch_size=self.contestant.batch_size,
                device=self.device,
                kept=kept,
            )
            for name, source in tests.items()
            if self._takes(source, learner)
        }

    def _takes(self, source: TaskSource, learner: Learner) -> bool:
        """Whether the contestant is scored on these tasks: as far as it has outputs for their classes."""
        ways = getattr(learner.likelihood, "ways", None)
        return ways is None or source.test.ways is None or source.test.ways <= ways

    def probes(self, learner: Learner, tests: dict[str, TaskSource]) -> list[Probe]:
        """How it does when the tasks of the first protocol get harder, as far as that is not known yet.

        Who trains on every support anew would take longer for this than for all else, and the optimum is none when its
        assumptions do not hold.
        """
        source = next(iter(tests.values()))
        if learner.optimizes or self.contestant.role == "optimum" or not self._takes(source, learner):
            return []

        def find(**asked: Any) -> list[dict[str, Any]]:
            return [each.to_json() for each in probe(learner, source.test, self.recipe.metric, **asked)]

        return [Probe.from_json(each) for each in self._found_once("probes.json", "failure probes", find)]

    def adaptation(self, learner: Learner, tests: dict[str, TaskSource]) -> Adaptation | None:
        """How it adapts to the tasks of the first protocol, step by step, as far as that is not known yet.

        None for what has no inner loop to follow.
        """
        source = next(iter(tests.values()))
        if not isinstance(learner, GradientLearner) or self.contestant.role != "learner":
            return None
        if not self._takes(source, learner):
            return None

        def find(**asked: Any) -> dict[str, Any]:
            return inspect_adaptation(learner, source.test, **asked).to_json()

        return Adaptation.from_json(self._found_once("adaptation.json", "adaptation", find))

    def cosines(self) -> dict[str, Any] | None:
        """Cosines of gradients over training, where that was watched; see `Outcome`."""
        return None

    def _found_once(self, name: str, what: str, find: Callable[..., Any]) -> Any:
        """What `find` finds on the first test tasks, kept in a file of the folder; read from there when it is known."""
        path = self.folder / name
        if not path.exists():
            progress.console.log(f"{self.recipe.name}: {self.name}, {what}")
            tasks = min(_PROBED, self.recipe.test_tasks)
            found = find(tasks=tasks, batch_size=self.contestant.batch_size, device=self.device)
            write_text(path, json.dumps(found, indent=1) + "\n")
        return json.loads(path.read_text(encoding="utf-8"))


def with_weights(build: Callable[[], Learner], trained: Path) -> Learner:
    """A learner with the weights that another has after training."""
    learner = build()
    learner.load_state_dict(load(trained).state_dict())
    return learner
