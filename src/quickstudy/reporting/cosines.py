"""Where the gradients of named tasks agree: by layer, over a training, and at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from quickstudy.evaluation import gradient_cosines
from quickstudy.multitask import NamedModule
from quickstudy.reporting.heat import heat_panel
from quickstudy.reporting.svg import Panel

__all__ = ["cosine_panels", "final_cosine_panel"]


def cosine_panels(card: Mapping[str, Any]) -> list[Panel]:
    """For every contestant that was watched, a heat map of layers and steps. None where no one was.

    Args:
        card: see `quickstudy.reporting.card`.
    """
    panels = []
    for number, (name, found) in enumerate(card.get("cosines", {}).items()):
        prefix, layers = _short(found["layers"])
        values = np.array([[np.nan if one is None else one for one in step] for step in found["values"]], dtype=float)
        panels.append(
            heat_panel(
                f"cosines{number}",
                f"Cosines of gradients over training, {name}",
                values.T,
                layers,
                [str(step) for step in found["steps"]],
                ("steps", "layer"),
                _caption(values, f"{_between(len(found['tasks']))}, on the training batch of a step", prefix),
            )
        )
    return panels


def final_cosine_panel(modules: Mapping[str, NamedModule], batch: Any, *, name: str = "final-cosines") -> Panel:
    """A heat map of contestants and layers that their tasks share, with the weights that they have.

    Args:
        modules: by name; all have the same layers.
        batch: examples on which gradients are taken, such as `tasks.train.draw(0, 1024, 0)`.
        name: unlike that of any other figure on the page.

    Raises:
        ValueError: no module, other layers, or tasks that share nothing.
    """
    if not modules:
        raise ValueError("modules is empty: there must be at least one")
    cosines = {who: gradient_cosines(module, batch) for who, module in modules.items()}
    known = list(next(iter(cosines.values())))
    other = next((who for who, found in cosines.items() if list(found) != known), None)
    if other is not None:
        raise ValueError(f"modules must share the same layers, {', '.join(known)}; {other!r} has others")
    values = np.stack([between_tasks(torch.stack(list(found.values()))) for found in cosines.values()])
    prefix, layers = _short(known)
    examples = dict(batch.items())
    real = max(int(those.mask.sum()) for those in examples.values())
    return heat_panel(
        name,
        "Cosines of gradients at the end",
        values,
        list(modules),
        layers,
        ("layer", ""),
        _caption(values, f"{_between(len(examples))}, on {real} examples", prefix),
    )


def between_tasks(cosines: torch.Tensor) -> np.ndarray:
    """The mean over pairs of different tasks of cosines `[..., task, task]`; NaN where no pair has one."""
    pairs = cosines[..., ~torch.eye(cosines.shape[-1], dtype=torch.bool)]
    return pairs.double().nanmean(-1).numpy()


def _between(tasks: int) -> str:
    return "between the two tasks" if tasks == 2 else "mean over pairs of tasks"


def _caption(values: np.ndarray, where: str, prefix: str) -> str:
    where += f"; layers are those of {prefix}" if prefix else ""
    there = values[~np.isnan(values)]
    if not len(there):
        return f"{where}; none is defined"
    ends = f"{there.min():+.2f} to {there.max():+.2f}".replace("-", "−")
    return f"{where}; below zero the tasks are in conflict; here from {ends}"


def _short(layers: Sequence[str]) -> tuple[str, list[str]]:
    """What the names of all layers begin with, and the rest of each."""
    parts = [layer.split(".") for layer in layers]
    common = 0
    while all(len(each) > common + 1 and each[common] == parts[0][common] for each in parts):
        common += 1
    return ".".join(parts[0][:common]), [".".join(each[common:]) for each in parts]
