"""What can go wrong in training."""

__all__ = ["NonFiniteLossError"]


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
