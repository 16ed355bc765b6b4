"""Groups of tasks that were trained apart, used as one module."""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.multitask.heads import in_order
from quickstudy.multitask.module import NamedModule
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree, map_tensors

__all__ = ["Assembled"]


@register
class Assembled(NamedModule):
    """Several modules, each for some of the tasks: what is left when groups of tasks share and others do not.

    It is for predicting and scoring. Its losses are those of the data, without what a part adds in its own.

    Args:
        parts: the modules; their tasks differ.

    Raises:
        TypeError: a part that is no `NamedModule`.
        ValueError: no part, a task that two parts have, or reductions that differ.
    """

    def __init__(self, parts: Sequence[NamedModule]) -> None:
        if not isinstance(parts, list | tuple) or not all(isinstance(part, NamedModule) for part in parts):
            raise TypeError(f"parts must be a list of NamedModules, got {parts!r}")
        if not parts:
            raise ValueError("parts is empty: there must be at least one module")
        tasks = [task for part in parts for task in part.tasks]
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"parts have a task in common; their tasks are {', '.join(tasks)}")
        reductions = {part.reduction for part in parts}
        if len(reductions) > 1:
            raise ValueError("parts must have one reduction, got means and sums")
        super().__init__({task: it for part in parts for task, it in part.objectives.items()}, parts[0].reduction)
        self.parts = list(parts)
        self.held = nn.ModuleList(parts)
        self._place = {task: number for number, part in enumerate(parts) for task in part.tasks}

    @property
    def normalization(self) -> str:
        """The policy of its parts."""
        return ", ".join(dict.fromkeys(part.normalization for part in self.parts))

    def own_parameters(self) -> list[nn.Parameter]:
        """What no two tasks share: of parts with one task all, of the others what belongs to single tasks."""
        return [
            leaf
            for part in self.parts
            for leaf in (part.parameters() if len(part.tasks) == 1 else part.own_parameters())
        ]

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        names = [self.tasks[number] for number in tasks]
        places = [self._place[name] for name in names]
        parts, groups = [], []
        for number in dict.fromkeys(places):
            part = self.parts[number]
            mine = [place for place, owner in enumerate(places) if owner == number]
            rows = list(dict.fromkeys(of[place] for place in mine))
            whose = [part.tasks.index(names[place]) for place in mine]
            seen = map_tensors(lambda leaf, rows=rows: leaf[rows], x)  # type: ignore[misc]
            parts.append(part.raw(seen, mask[rows], whose, [rows.index(of[place]) for place in mine]))
            groups.append(mine)
        return in_order(parts, groups)
