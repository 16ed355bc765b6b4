"""What can go wrong in training."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NonFiniteLossError", "naming_draws"]


@contextmanager
def naming_draws(first: int, count: int, seed: int) -> Iterator[None]:
    """Add to what is wrong with a batch which draws of the split it is."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # Others are made from more than a message, and are of something else.
        if type(error) not in (TypeError, ValueError):
            raise
        raise type(error)(f"{error} (the batch is split.draw({first}, {count}, {seed}))") from error


class NonFiniteLossError(ArithmeticError):
    """A loss, or its gradient, is NaN or infinite; training stops before it reaches the weights.

    Attributes:
        step: the training step, from 0.
        task: the number of the task in the split's stream, or the name of the objective.
        seed: the seed of the stream; `split.draw(task, 1, seed)` is the task.
    """

    def __init__(self, value: float, step: int, task: int | str, seed: int, what: str = "the loss") -> None:
        super().__init__(
            f"{what} is {value} at step {step}, task {task}, seed {seed}; nothing of this step was kept. "
            f"Look at the task ({'split.draw(task, 1, seed)' if isinstance(task, int) else 'its data'}), "
            "or lower the learning rate or clip the gradients"
        )
        self.step, self.task, self.seed = step, task, seed
