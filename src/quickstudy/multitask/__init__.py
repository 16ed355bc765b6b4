"""Named tasks, each with a data set, a head and a loss of its own."""

from quickstudy.multitask.batch import NamedBatch, SharedBatch
from quickstudy.multitask.from_targets import shared_tasks
from quickstudy.multitask.mixed import MixedSplit
from quickstudy.multitask.module import NamedModule
from quickstudy.multitask.named import NamedSplit, NamedTasks, named_tasks
from quickstudy.multitask.objective import Objective
from quickstudy.multitask.shared import SharedSplit
from quickstudy.multitask.shared_bottom import SharedBottom

__all__ = [
    "MixedSplit",
    "NamedBatch",
    "NamedModule",
    "NamedSplit",
    "NamedTasks",
    "Objective",
    "SharedBatch",
    "SharedBottom",
    "SharedSplit",
    "named_tasks",
    "shared_tasks",
]
