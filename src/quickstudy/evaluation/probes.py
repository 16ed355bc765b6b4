"""Failure probes: how fast a learner gets worse when its tasks get harder.

Rotation, noise and occlusion change the queries and leave the support as it is: a device is taught with good examples
and then used in bad light. Changing both would ask another question, whether the method can also learn from bad ones.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy import progress
from quickstudy.evaluation.asked import check_asked
from quickstudy.evaluation.intervals import Interval, interval
from quickstudy.evaluation.metrics import task_metrics
from quickstudy.evaluation.perturbations import first_queries, harder, perturbations_for
from quickstudy.learners import Learner, Phi
from quickstudy.networks import evaluating
from quickstudy.tasks import Split, TaskBatch
from quickstudy.training.fabric import make_fabric, to_module

__all__ = ["Probe", "probe"]


@dataclass(frozen=True)
class Probe:
    """The scores of one learner, from tasks as they are to the hardest.

    Attributes:
        name: what was made harder.
        unit: what `levels` count.
        levels: how hard; at the first, nothing is changed.
        changes: `queries`, `support`, or `training tasks`.
        values: mean and interval of the metric at each level.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    changes: str
    values: tuple[Interval, ...]

    def to_json(self) -> dict[str, Any]:
        """As cards hold it."""
        about = {"name": self.name, "unit": self.unit, "changes": self.changes, "levels": list(self.levels)}
        return {**about, "values": [value.to_json() for value in self.values]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Probe":
        """The inverse of `to_json`."""
        values = tuple(Interval.from_json(each) for each in value["values"])
        return cls(value["name"], value["unit"], tuple(value["levels"]), value["changes"], values)


def probe(
    learner: Learner,
    split: Split,
    metric: str,
    *,
    tasks: int = 100,
    queries: int = 5,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
) -> list[Probe]:
    """Score a learner on the same numbered tasks, as they are and made harder in every way that means something there.

    A task whose support is as it was is learned once and asked many times.

    Args:
        learner: put into evaluation mode meanwhile.
        split: usually `source.test`; tasks 0 … tasks − 1 of the stream `seed` are taken.
        metric: what is measured, such as `accuracy`.
        tasks: how many.
        queries: the first so many of each task are asked; intervals are over tasks, so few suffice.
        seed: of the stream of tasks and of what is random in making them harder.
        batch_size: tasks at a time.
        device: as for `evaluate`.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number below one, a metric that these tasks do not have, or a prediction that is not finite.
    """
    check_asked(split, tasks=tasks, queries=queries, batch_size=batch_size)
    fabric = make_fabric(device)
    tasks = min(tasks, split.size or tasks)
    split = split.to(fabric.device)
    found = perturbations_for(split.draw(0, min(16, tasks), seed))
    values: dict[tuple[int, float], list[Tensor]] = {}
    with evaluating(learner, fabric.device), progress.bar("probing", tasks) as bar, torch.no_grad():
        for first in range(0, tasks, batch_size):
            drawn = split.draw(first, min(batch_size, tasks - first), seed)
            plain = first_queries(to_module(drawn, learner, fabric), queries)
            phi = learner.adapt(plain.support, plain.classes)
            known = _score(learner, phi, plain, metric)
            for number, perturbation in enumerate(found):
                for level in perturbation.levels:
                    score = known
                    if level != perturbation.levels[0]:
                        batch = harder(plain, perturbation, level, first=first, seed=seed, queries=queries)
                        again = perturbation.changes == "support"
                        learned = learner.adapt(batch.support, batch.classes) if again else phi
                        score = _score(learner, learned, batch, metric)
                    values.setdefault((number, level), []).append(score)
            bar.advance(plain.tasks)
    return [
        Probe(
            perturbation.name,
            perturbation.unit,
            perturbation.levels,
            perturbation.changes,
            tuple(interval(torch.cat(values[number, level]).numpy()) for level in perturbation.levels),
        )
        for number, perturbation in enumerate(found)
    ]


def _score(learner: Learner, phi: Phi, batch: TaskBatch, metric: str) -> Float[Tensor, " task"]:
    query = batch.query.inert()
    metrics = task_metrics(learner.predict(phi, query.x, query.mask), query.y, query.mask)
    if metric not in metrics:
        raise ValueError(f"metric must be one of {', '.join(sorted(metrics))}, got {metric!r}")
    return metrics[metric].cpu()
