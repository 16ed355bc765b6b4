"""Named tasks, each with a data set, a head and a loss of its own."""

from quickstudy.multitask.named import NamedBatch, NamedSplit, NamedTasks, named_tasks
from quickstudy.multitask.shared_bottom import SharedBottom

__all__ = ["NamedBatch", "NamedSplit", "NamedTasks", "SharedBottom", "named_tasks"]
