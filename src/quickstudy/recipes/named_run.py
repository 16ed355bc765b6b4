"""One contestant of a recipe on named tasks, trained with one seed and scored."""

import json
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.evaluation import Adaptation, Probe, Scores, Watched
from quickstudy.files import write_text
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, NamedTest
from quickstudy.recipes.one_run import OneRun
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.reporting.cosines import between_tasks
from quickstudy.tasks.source import Sampler
from quickstudy.training import make_fabric

__all__ = ["NamedRun"]

_CHOSEN, _COSINES = "chosen.json", "cosines.json"
_DRAWS = 4096  # at a time


class NamedRun(OneRun):
    """As `OneRun`, of a `NamedRecipe`; among candidates the validation split chooses. They lie in folders below."""

    recipe: NamedRecipe
    contestant: NamedContestant

    def describe(self) -> dict[str, Any] | None:
        candidates = self.contestant.candidates
        if not candidates:
            return super().describe()
        chosen = json.loads((self.folder / _CHOSEN).read_text(encoding="utf-8"))["chosen"]
        training = candidates[chosen].training
        about = {"candidates": len(candidates), "chosen": [chosen]}
        return about if training is None else {**training.describe(), **about}

    def probes(self, learner: Any, tests: dict[str, Any]) -> list[Probe]:
        return []

    def adaptation(self, learner: Any, tests: dict[str, Any]) -> Adaptation | None:
        return None

    def _trained(self) -> tuple[Any, float]:
        """The module, and the seconds of training, of all candidates together."""
        candidates = self.contestant.candidates
        if not candidates:
            return self._fitted(self.contestant, self.folder)
        best, merits, seconds = None, {}, 0.0
        for number, (label, candidate) in enumerate(candidates.items()):
            slug = re.sub(r"[^a-z0-9+]+", "-", label.lower()).strip("-")
            place = self.folder / f"candidate{number}-{slug}"
            module, taken = self._fitted(candidate, place)
            seconds += taken
            merits[label] = self.recipe.merit(self._metrics(module, self.recipe.tasks.validation))
            if not math.isnan(merits[label]) and merits[label] == max(m for m in merits.values() if not math.isnan(m)):
                best = label, module
        if best is None:
            raise ValueError(f"no candidate of {self.name!r} has a validation score that is a number")
        chosen, module = best
        write_text(self.folder / _CHOSEN, json.dumps({"chosen": chosen, "merits": merits}, ensure_ascii=False) + "\n")
        return module, seconds

    def _arguments(self, contestant: Contestant, training: Training, learner: Any) -> dict[str, Any]:
        if not isinstance(contestant, NamedContestant):
            return training.arguments()
        backward = None if contestant.backward is None else contestant.backward(learner)
        if contestant.watched:
            backward = Watched(
                learner,
                training.tasks,
                batch_size=training.batch_size,
                seed=self.seed,
                every=max(1, training.steps // contestant.watched),
                backward=backward,
            )
        return {**training.arguments(), "backward": backward}

    def _keep(self, arguments: dict[str, Any], folder: Path) -> None:
        watched = arguments.get("backward")
        if isinstance(watched, Watched):
            found = between_tasks(watched.cosines)
            values = [[None if math.isnan(one) else round(one, 4) for one in step] for step in found.tolist()]
            about = {"tasks": list(watched.module.tasks), "layers": list(watched.layers), "steps": watched.steps}
            write_text(folder / _COSINES, json.dumps({**about, "values": values}, ensure_ascii=False) + "\n")

    def cosines(self) -> dict[str, Any] | None:
        path = self.folder / _COSINES
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _scored(self, learner: Any, tests: dict[str, NamedTest]) -> dict[str, Scores]:
        split = self.recipe.tasks.test
        metrics, asked = self._metrics(learner, split), _asked(split, list(self.recipe.metrics))
        scores = {}
        for name, test in tests.items():
            values = np.array([metrics[task] for task in test.tasks] if test.score is None else [test.score(learner)])
            if not np.isfinite(values).all():
                task = test.tasks[int(np.flatnonzero(~np.isfinite(values))[0])]
                raise ValueError(f"the {test.metric} of the task {task!r} is not defined on the test split")
            values = values if test.each else values.mean(keepdims=True)
            scores[name] = Scores(
                {test.metric: values}, split=split.name, asked=_checksum([asked[task] for task in test.tasks])
            )
        return scores

    def _metrics(self, module: Any, split: Sampler[Any]) -> dict[str, float]:
        device = make_fabric(self.device).device
        found: dict[str, float] = module.to(device).scores(split)
        module.to("cpu")
        return found


def _asked(split: Any, tasks: Sequence[str]) -> dict[str, int]:
    """A checksum of the targets of every task, by which the same test examples are known."""
    asked = dict.fromkeys(tasks, 0)
    for first in range(0, split.size, _DRAWS):
        for task, those in split.draw(first, min(_DRAWS, split.size - first), 0).items():
            asked[task] = zlib.crc32(those.y[those.mask].double().cpu().numpy().tobytes(), asked[task])
    return asked


def _checksum(numbers: Sequence[int]) -> int:
    return zlib.crc32(json.dumps(list(numbers)).encode())
