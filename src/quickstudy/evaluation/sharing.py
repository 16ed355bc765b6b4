"""When to share, and when not: named tasks trained alone, in pairs, together and in groups, at an equal budget.

What is grouped is decided on the validation split, and what is said of it on the test split, so that choosing among
many pairs flatters none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from quickstudy import progress
from quickstudy.arguments import check_flag, check_real, check_seed, check_whole
from quickstudy.evaluation.gradient_cosines import shared_layers
from quickstudy.evaluation.grouping import grouping
from quickstudy.evaluation.intervals import Interval
from quickstudy.evaluation.metrics import HIGHER_IS_BETTER
from quickstudy.evaluation.relative import over_seeds, relative_change
from quickstudy.evaluation.watched import Watched
from quickstudy.multitask import NamedModule, NamedTasks, Objective, SharedBatch
from quickstudy.multitask.module import Objectives
from quickstudy.rebuild import describe, save
from quickstudy.tasks.source import Sampler
from quickstudy.training import fit

__all__ = ["SharingReport", "company_folder", "sharing_report", "sharing_verdict"]

Relations: TypeAlias = Literal["pairs", "affinity"]
Changes: TypeAlias = Float[np.ndarray, "seed task"]


class _Only(Sampler[Any]):
    """The same draws, of some of the tasks: who else is trained does not change what a task sees."""

    def __init__(self, split: Sampler[Any], tasks: Sequence[str]) -> None:
        self.split, self.tasks, self.name, self.size = split, list(tasks), split.name, split.size

    def to(self, device: Any) -> "_Only":
        return _Only(self.split.to(device), self.tasks)

    def draw(self, first: int, count: int, seed: int) -> Any:
        return self._of(self.split.draw(first, count, seed))

    def sample(self, step: int, size: int, seed: int, *, rank: int = 0, world: int = 1) -> Any:
        return self._of(self.split.sample(step, size, seed, rank=rank, world=world))

    def _of(self, batch: Any) -> Any:
        if not isinstance(batch, SharedBatch):
            return {task: batch[task] for task in self.tasks}
        y, mask, count = ({task: those[task] for task in self.tasks} for those in (batch.y, batch.mask, batch.count))
        return SharedBatch(batch.x, y, mask, count)


@dataclass(frozen=True)
class SharingReport:
    """What sharing does to every task.

    Attributes:
        tasks: their names; all that follows is in this order.
        metrics: of every task.
        seeds: of training, by which all is paired.
        alone: test scores of every task trained alone.
        joint: Δ of every task trained with all others, as a part of one; above zero is better than alone.
        grouped: Δ of every task in its suggested group (zero for one that stays alone).
        gains: A_ij that the groups were chosen by: Δ_j of the pair on the validation split, or the affinity.
        pairs: Δ_j of the pair i, j on the test split; None where pairs were not trained.
        groups: the suggested split, as numbers of tasks.
        affinity: Z_{i→j} of the joint training, over steps and seeds.
        layers: names of what tasks share.
        steps: those at which cosines were measured.
        cosines: of gradients, over seeds.
    """

    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]
    alone: Changes
    joint: Changes
    grouped: Changes
    gains: Float[np.ndarray, "task task"]
    pairs: Float[np.ndarray, "seed task task"] | None
    groups: list[list[int]]
    affinity: Float[np.ndarray, "task task"]
    layers: tuple[str, ...]
    steps: tuple[int, ...]
    cosines: Float[np.ndarray, "step layer task task"]

    @property
    def delta(self) -> dict[str, Interval]:
        """Δ of every task in joint training, with its paired 95% interval over seeds."""
        return {task: over_seeds(self.joint[:, number]) for number, task in enumerate(self.tasks)}

    @property
    def delta_grouped(self) -> dict[str, Interval]:
        """Δ of every task in its suggested group."""
        return {task: over_seeds(self.grouped[:, number]) for number, task in enumerate(self.tasks)}

    @property
    def delta_m(self) -> Interval:
        """Δm of joint training, the mean of Δ over tasks."""
        return over_seeds(self.joint.mean(1))

    @property
    def delta_m_grouped(self) -> Interval:
        """Δm of the suggested groups."""
        return over_seeds(self.grouped.mean(1))

    @property
    def verdicts(self) -> dict[str, str]:
        """What to do with every task, see `sharing_verdict`."""
        return {
            task: sharing_verdict(self.joint[:, number], self.grouped[:, number], self._company(number))
            for number, task in enumerate(self.tasks)
        }

    def _company(self, number: int) -> list[str] | None:
        """The others of a task's group; None where that is everyone."""
        (group,) = (group for group in self.groups if number in group)
        return None if len(group) == len(self.tasks) else [self.tasks[other] for other in group if other != number]

    def __str__(self) -> str:
        """A table of tasks, and what is suggested."""
        wide = max(len("task"), *(len(task) for task in self.tasks))
        lines = [f"{'task':{wide}}  {'metric':8}  {'alone':>8}  {'Δ together':>16}  {'Δ in its group':>16}  verdict"]
        verdicts, joint, grouped = self.verdicts, self.delta, self.delta_grouped
        for number, task in enumerate(self.tasks):
            lines.append(
                f"{task:{wide}}  {self.metrics[number]:8}  {self.alone[:, number].mean():8.3f}  "
                f"{_percent(joint[task]):>16}  {_percent(grouped[task]):>16}  {verdicts[task]}"
            )
        split = ", ".join("{" + ", ".join(self.tasks[task] for task in group) + "}" for group in self.groups)
        lines.append(f"Δm {_percent(self.delta_m)} together, {_percent(self.delta_m_grouped)} in groups {split}")
        return "\n".join(lines)


def sharing_verdict(
    joint: NDArray[np.float64], grouped: NDArray[np.float64], company: Sequence[str] | None = None
) -> str:
    """What to do with a task, said only where the 95% interval over seeds excludes zero.

    The first of these that is so:

    1. `share with …`: in its group the task is better than alone, and better than with all;
    2. `share`: with all it is better than alone;
    3. `share with …`: in its group it is better than alone;
    4. `train alone`: with all it is worse than alone, and its group is not shown to be better;
    5. `no difference shown`.

    Args:
        joint, grouped: Δ `[seed]` with all tasks, and in the group that validation chose.
        company: the others of that group, none where it stays alone; None where the group is everyone.
    """
    both = over_seeds(joint)
    if company:
        share = f"share with {', '.join(company)}"
        good = over_seeds(grouped).low > 0
        if good and over_seeds(np.asarray(grouped) - np.asarray(joint)).low > 0:
            return share
        if both.low > 0:
            return "share"
        if good:
            return share
    elif both.low > 0:
        return "share"
    return "train alone" if both.high < 0 else "no difference shown"


def sharing_report(
    make: Callable[[Objectives], NamedModule],
    objectives: Objectives,
    tasks: NamedTasks,
    *,
    steps: int,
    batch_size: int = 64,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    relations: Relations = "pairs",
    groups: int | None = None,
    every: int | None = None,
    rate: float = 1e-2,
    choose: bool = True,
    folder: Path | str | None = None,
    resume: bool = False,
    **arguments: Any,
) -> SharingReport:
    """Train named tasks alone, in pairs, together and in the groups that pairs suggest, and say what that does to each.

    All have the same steps, and a task sees the same examples in the same steps whatever its company. With T tasks
    there are T + T (T − 1) / 2 + 1 trainings for every seed, and one for each group that is none of these; with
    `relations="affinity"` pairs are not trained, but affinities measured in the joint training.

    Args:
        make: builds the module for some of the tasks, such as `lambda those: SharedBottom(MLP(64), those)`; what is
            random in it comes from torch's generator, seeded by the run. Alone, it has one task.
        objectives: the likelihood, or the objective, of every task.
        tasks: their data.
        steps, batch_size: of every training; the batch size is in examples of every task.
        seeds: of training; intervals are over them, and one gives none.
        relations: what groups are chosen by.
        groups: at most how many; any number by default.
        every: steps between measurements of cosines and affinities; a twentieth of `steps` by default.
        rate: of the lookahead of affinities.
        choose: whether each training ends with the weights that were best on its tasks' validation examples.
        folder: where every training keeps its log, its checkpoint and its weights, see `company_folder`; None keeps
            nothing.
        resume: go on with what is in `folder`.
        arguments: others of `fit`, such as `optimizer`.

    Raises:
        TypeError: an argument of another type, or `make` builds no module of named tasks.
        ValueError: fewer than two tasks, one without data, tasks that share nothing, seeds that stand twice, an unknown
            relation, or a number out of range; these are found out before anything is trained. Or a metric that is not
            defined.
        FileExistsError: `folder` holds trainings and `resume` is False.
    """
    _check(make, objectives, tasks, steps, batch_size, seeds, relations, groups, every, rate, choose, folder, arguments)
    names, every = tuple(objectives), max(1, steps // 20) if every is None else every
    given = {task: one if isinstance(one, Objective) else Objective(one) for task, one in objectives.items()}
    metrics = tuple(given[task].metric for task in names)
    up = [HIGHER_IS_BETTER[metric] for metric in metrics]
    watched: list[Watched] = []

    def scores(company: Sequence[int]) -> Float[np.ndarray, "split seed task"]:
        """On validation and test, of the tasks in a company trained together."""
        mine = [names[number] for number in company]
        train, validation, test = (_Only(split, mine) for split in (tasks.train, tasks.validation, tasks.test))
        found = []
        for seed in seeds:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = make({task: objectives[task] for task in mine})
            backward = None
            if len(mine) == len(names):
                backward = Watched(module, train, batch_size=batch_size, seed=seed, every=every, rate=rate)
                watched.append(backward)
            place = None if folder is None else company_folder(folder, company, seed)
            if place is not None:
                progress.console.log(f"sharing: {', '.join(mine)}; seed {seed}")
            fit(
                module,
                train,
                steps=steps,
                batch_size=batch_size,
                seed=seed,
                backward=backward,
                folder=place,
                resume=resume,
                **{"validation": validation if choose else None, **arguments},
            )
            scored = [module.scores(split) for split in (validation, test)]
            if place is not None:
                save(module.to("cpu"), place / "learner.safetensors")
            found.append([[each[task] for task in mine] for each in scored])
        return np.array(found).swapaxes(0, 1)

    alone = np.concatenate([scores([number]) for number in range(len(names))], -1)
    everyone = tuple(range(len(names)))
    known = {everyone: scores(everyone)}

    def changes(company: tuple[int, ...]) -> Float[np.ndarray, "split seed task"]:
        if company not in known:
            known[company] = scores(company)
        return relative_change(known[company], alone[..., company], [up[number] for number in company])

    joint = changes(everyone)[1]
    affinity = torch.stack([one.affinity for one in watched]).double().numpy().mean(0)
    pairs, gains = None, np.nan_to_num(affinity)
    if relations == "pairs":
        paired = np.zeros((2, len(seeds), len(names), len(names)))
        for i, j in combinations(everyone, 2):
            both = changes((i, j))
            paired[..., j, i], paired[..., i, j] = both[..., 0], both[..., 1]
        gains, pairs = paired[0].mean(0), paired[1]
    split = grouping(gains, groups)
    grouped = np.zeros_like(joint)
    for group in split:
        if len(group) > 1:
            grouped[:, group] = changes(tuple(group))[1]
    cosines = torch.stack([one.cosines for one in watched]).nanmean(0).double().numpy()
    return SharingReport(
        names,
        metrics,
        tuple(seeds),
        alone[1],
        joint,
        grouped,
        gains,
        pairs,
        split,
        affinity,
        watched[0].layers,
        tuple(watched[0].steps),
        cosines,
    )


def company_folder(folder: Path | str, company: Sequence[int], seed: int) -> Path:
    """Where `sharing_report` keeps the training of some tasks, by their numbers: `learner.safetensors` and more."""
    return Path(folder) / f"tasks{'+'.join(map(str, company))}" / f"seed{seed}"


def _check(
    make: Any,
    objectives: Any,
    tasks: Any,
    steps: Any,
    batch_size: Any,
    seeds: Any,
    relations: Any,
    groups: Any,
    every: Any,
    rate: Any,
    choose: Any,
    folder: Any,
    arguments: dict[str, Any],
) -> None:
    """Find out before the first of many trainings what would stop a later one."""
    if not callable(make):
        raise TypeError(f"make must be a function that builds a NamedModule, got {make!r}")
    if not isinstance(objectives, Mapping):
        raise TypeError(f"objectives must be a dict by the tasks' names, got {type(objectives).__name__}")
    if not isinstance(tasks, NamedTasks):
        raise TypeError(f"tasks must be NamedTasks, such as of named_tasks(…), got {type(tasks).__name__}")
    if len(objectives) < 2:
        raise ValueError(f"objectives must name two or more tasks, got {list(objectives)}")
    there = [task for task, _ in tasks.train.draw(0, 1, 0).items()]
    if unknown := [task for task in objectives if task not in there]:
        raise ValueError(f"objectives names {unknown[0]!r}, of which there are no data; there are {', '.join(there)}")
    if relations not in get_args(Relations):
        raise ValueError(f"relations must be 'pairs' or 'affinity', got {relations!r}")
    if not isinstance(seeds, Sequence) or isinstance(seeds, str):
        raise TypeError(f"seeds must be a list of whole numbers, got {seeds!r}")
    for seed in seeds:
        check_seed(seed)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different numbers, got {list(seeds)}")
    counts = {"steps": steps, "batch_size": batch_size, "groups": groups, "every": every}
    for name, value in counts.items():
        if value is None and name in ("groups", "every"):
            continue
        check_whole(**{name: value})
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    check_real(rate=rate)
    if not rate > 0:
        raise ValueError(f"rate must be positive, got {rate}")
    check_flag(choose=choose)
    if folder is not None and not isinstance(folder, str | Path):
        raise TypeError(f"folder must be a path or None, got {folder!r}")
    if taken := {"backward", "seed", "validation", "fabric"} & set(arguments):
        raise ValueError(f"{sorted(taken)[0]} is set by sharing_report; leave it out")
    with torch.random.fork_rng():
        module = make(dict(objectives))
    if not isinstance(module, NamedModule):
        raise TypeError(f"make must build a NamedModule, got {type(module).__name__}")
    shared_layers(module)
    if folder is not None:
        describe(module)  # as it will be saved


def _percent(value: Interval) -> str:
    half = "" if np.isnan(value.ci95) else f" ± {100 * value.ci95:.1f}"
    return f"{100 * value.mean:+.1f}{half}%".replace("-", "−")
