"""Which experts each task listens to: the weights of its gate, on average over test examples."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.utils._pytree import tree_map

from quickstudy.multitask import NamedModule, ProgressiveExtraction
from quickstudy.networks import evaluating
from quickstudy.reporting.heat import heat_panel
from quickstudy.reporting.svg import Panel
from quickstudy.tasks.source import Sampler

__all__ = ["gate_panels", "mean_gates"]

_MANY_TASKS = 14
_DRAWS = 4096  # at a time


def gate_panels(module: NamedModule, split: Sampler[Any], *, title: str = "", name: str = "gates") -> list[Panel]:
    """A heat map of tasks and experts for every level of gates. None where a module has no gates.

    A task without examples has an empty row. More than fourteen tasks stand in the order of the expert that they use
    most, so that those which share it stand together.

    Args:
        module: such as `MultiGateMixture` or `ProgressiveExtraction`; it is asked in evaluation mode.
        split: every example of it is asked, such as `tasks.test`.
        title: whose gates they are.
        name: unlike that of any other figure on the page.
    """
    if not hasattr(module, "gate_usage"):
        return []
    if not isinstance(module, ProgressiveExtraction):
        return [_panel(name, f"Gates of {title}" if title else "Gates", *mean_gates(module, split), own=0)]
    return [
        _panel(
            f"{name}-{level}",
            ("Gates" + (f" of {title}" if title else ""))
            + (f", level {level + 1} of {module.levels}" if module.levels > 1 else ""),
            *mean_gates(module, split, level=level),
            own=module.own,
        )
        for level in range(module.levels)
    ]


def mean_gates(
    module: Any, split: Sampler[Any], **which: Any
) -> tuple[dict[str, Float[np.ndarray, " expert"]], dict[str, int]]:
    """Of every task in a split the mean shares over all of its examples (NaN if it has none), and how many these are.

    Args:
        module: with a `gate_usage`; it is asked in evaluation mode.
        split: of which every example is asked.
        which: what `gate_usage` takes beside the batch.
    """
    size = split.size or _DRAWS
    device = next(module.parameters()).device
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    with evaluating(module):
        for first in range(0, size, _DRAWS):
            drawn = split.draw(first, min(_DRAWS, size - first), 0)
            there = {task: int(those.mask.sum()) for task, those in drawn.items()}
            batch = tree_map(lambda leaf: leaf.to(device), drawn)
            for task, share in module.gate_usage(batch, **which).items():
                sums[task] = sums.get(task, 0.0) + there[task] * torch.nan_to_num(share).double().cpu().numpy()
                counts[task] = counts.get(task, 0) + there[task]
    return {task: sums[task] / counts[task] if counts[task] else sums[task] + np.nan for task in sums}, counts


def _panel(
    name: str, title: str, usage: dict[str, Float[np.ndarray, " expert"]], counts: dict[str, int], own: int
) -> Panel:
    tasks = list(usage)
    if len(tasks) > _MANY_TASKS:
        full = {task: np.nan_to_num(share) for task, share in usage.items()}
        tasks.sort(key=lambda task: (full[task].argmax(), -full[task].max()))
    shares = np.stack([usage[task] for task in tasks])
    experts, fewest, most = shares.shape[1], min(counts.values()), max(counts.values())
    columns = [f"own {number + 1}" for number in range(own)]
    columns += [f"shared {number + 1}" if own else str(number + 1) for number in range(experts - own)]
    over = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    caption = (
        f"the share of each expert in a task's mixture, mean over {over} test examples; the strongest colour is "
        f"{np.nan_to_num(shares).max():.2f}, an even share would be 1/{experts}"
    )
    if own:
        caption += "; own experts are others for every task, shared ones the same for all"
    lines = [own] if own else []
    return heat_panel(name, title, shares, tasks, columns, ("expert", ""), caption, signed=False, column_lines=lines)
