"""What happened in a run."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["History", "RunningMean"]


@dataclass
class History:
    """What happened in a run.

    Attributes:
        steps: steps done.
        losses: (steps done, mean loss since the line before).
        validation: (steps done, mean score on the validation tasks; lower is better).
        best_step: steps done when the weights were best on validation; None without validation.
        unimproved: validations since then.
        seconds: time spent training and validating, over all parts of a resumed run.
        stopped_early: validation had not improved for `patience` times.
    """

    steps: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int | None = None
    unimproved: int = 0
    seconds: float = 0.0
    stopped_early: bool = False

    def add_validation(self, value: float, patience: int | None) -> bool:
        """Note a validation score; whether it is the best so far."""
        # A NaN is neither best nor in the way of what comes after it.
        best = math.isfinite(value) and all(not before <= value for _, before in self.validation)
        self.validation.append((self.steps, value))
        self.best_step, self.unimproved = (self.steps, 0) if best else (self.best_step, self.unimproved + 1)
        self.stopped_early = patience is not None and self.unimproved >= patience
        return best


class RunningMean:
    """The mean of what was added since it was last taken. Values stay on their device until then."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []

    def add(self, value: Tensor) -> None:
        """Add a number."""
        self._values.append(value)

    def take(self) -> Tensor:
        """The mean; begins anew."""
        mean = torch.stack(self._values).mean()
        self._values = []
        return mean

    def state(self) -> list[Tensor]:
        """What has been added, for a checkpoint."""
        return list(self._values)

    def restore(self, values: list[Tensor]) -> None:
        """The inverse of `state`."""
        self._values = list(values)
