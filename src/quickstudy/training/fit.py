"""Training: what a run is made of, put together.

`fit` needs a module whose `forward(batch)` returns losses and a sampler of numbered batches, and knows nothing of
methods. Lightning Fabric moves data, runs processes and casts.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from quickstudy.arguments import check_flag, check_real, check_seed, check_whole
from quickstudy.tasks.source import Sampler
from quickstudy.training.backward import Backward, Losses, Mean
from quickstudy.training.compiled_gradient import CompiledGradient
from quickstudy.training.fabric import Precision, loss_scaler, make_fabric
from quickstudy.training.history import History
from quickstudy.training.interrupt import interruptible
from quickstudy.training.loop import Loop
from quickstudy.training.validation import Score, Validation

__all__ = ["fit"]

Compile: TypeAlias = Literal[False, True, "gradient"]

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


def fit(
    module: nn.Module,
    tasks: Sampler[Any],
    *,
    steps: int,
    batch_size: int = 16,
    seed: int = 0,
    optimizer: OptimizerFactory | None = None,
    schedule: Callable[[Optimizer], LRScheduler] | None = None,
    clip: float | None = None,
    backward: Backward | Callable[[Losses, Fabric], None] | None = None,
    validation: Sampler[Any] | None = None,
    validation_size: int = 200,
    validate_every: int | None = None,
    score: Score | None = None,
    patience: int | None = None,
    device: str = "auto",
    precision: Precision = "32-true",
    compile: Compile = False,
    fabric: Fabric | None = None,
    folder: Path | str | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
) -> History:
    """Train `module` on batches of `tasks`.

    With `validation`, the module ends with the weights that were best on it; otherwise with the last.

    Args:
        module: its `forward(batch)` returns losses, `[task]` or by name.
        tasks: where batches come from; `source.train`, usually.
        steps: optimizer steps in all.
        batch_size: draws per step, over all processes: tasks, or examples of each named task.
        seed: of the stream of tasks, and of whatever is random in the module's forward.
        optimizer: makes the optimizer from the parameters; Adam at a rate of 0.001 by default.
        schedule: makes the learning-rate schedule from the optimizer; stepped after every step.
        clip: largest norm of the gradient.
        backward: from losses to gradients; `Mean()` by default.
        validation: draws to choose by; always the draws 0 … validation_size − 1, with the seed 0.
        validation_size: how many, at most as many as there are.
        validate_every: steps between validations; a twentieth of `steps` by default.
        score: (module, batch) → numbers whose mean is to be low, or one per named task; the losses by default.
        patience: stop after that many validations in a row without improvement.
        device: `auto`, `cpu`, `cuda`, `cuda:1` …
        precision: `32-true`, `bf16-mixed` or `16-mixed` (autocast), `64-true`.
        compile: True runs the forward through `torch.compile(fullgraph=True, dynamic=False)`; `"gradient"` makes one
            graph of losses and gradient (`CompiledGradient`), for a mean or a sum of losses: a step of MAML takes
            little more than half the time.
        fabric: your own, instead of one made from `device` and `precision`; under torchrun one is made that spans its
            processes.
        folder: where `log.jsonl` and `checkpoint.pt` are kept; None keeps nothing.
        resume: continue from the checkpoint in `folder`, if there is one.
        checkpoint_every: steps between checkpoints; a twentieth of `steps` by default.

    Returns:
        The history of the run.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of range, a malformed batch, or a module without parameters to train.
        FileExistsError: `folder` holds a run and `resume` is False.
        NonFiniteLossError: a loss or a gradient was NaN or infinite; names the step, the task and the seed.
        KeyboardInterrupt: the run was interrupted, after the running step was ended and a checkpoint written.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    for name, sampler in (("tasks", tasks), ("validation", validation)):
        if not isinstance(sampler, Sampler) and not (sampler is None and name == "validation"):
            raise TypeError(f"{name} must be a Sampler such as source.train, got {type(sampler).__name__}")
    for name, function in (("optimizer", optimizer), ("schedule", schedule), ("backward", backward), ("score", score)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function or None, got {function!r}")
    if folder is not None and not isinstance(folder, str | Path):
        raise TypeError(f"folder must be a path or None, got {folder!r}")
    counts = {
        "steps": steps,
        "validation_size": validation_size,
        "validate_every": validate_every,
        "patience": patience,
        "checkpoint_every": checkpoint_every,
    }
    for name, value in counts.items():
        if value is None and name not in ("steps", "validation_size"):
            continue
        check_whole(**{name: value})
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    check_whole(batch_size=batch_size)
    check_seed(seed)
    check_flag(resume=resume)
    if isinstance(compile, str) and compile != "gradient":
        raise ValueError(f"compile must be False, True or 'gradient', got {compile!r}")
    if not isinstance(compile, str):
        check_flag(compile=compile)
    if clip is not None:
        check_real(clip=clip)
    if seed < 0 or (clip is not None and not clip > 0):
        raise ValueError(f"seed must not be negative and clip must be positive, got {seed} and {clip}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters or not getattr(module, "trainable", True):
        raise ValueError(f"{type(module).__name__} has nothing to learn across tasks; evaluate it as it is")
    if isinstance(backward, Backward):
        backward.check(module)
    twentieth = max(1, steps // 20)
    chosen_by = None
    fabric = make_fabric(device, precision) if fabric is None else fabric
    if validation is not None:
        chosen_by = Validation(
            validation.to(fabric.device),
            min(validation_size, validation.size or validation_size),
            validate_every or twentieth,
            score or (lambda module, batch: module(batch)),
            patience,
        )
    bare = torch.optim.Adam(parameters, lr=1e-3) if optimizer is None else optimizer(parameters)
    if compile == "gradient" and loss_scaler(fabric) is not None:
        raise ValueError(
            "compile='gradient' makes the gradient before float16 could scale the loss, and small ones would vanish; "
            "use precision='bf16-mixed', or compile=True"
        )
    compiled: Any = module
    if compile == "gradient":
        compiled = CompiledGradient(module)
    elif compile:
        compiled = torch.compile(module, fullgraph=True, dynamic=False)
    forward, wrapped = fabric.setup(compiled, bare)
    loop = Loop(
        module,
        forward,
        wrapped,
        schedule(bare) if schedule else None,
        fabric,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        clip=clip,
        backward=backward or Mean(),
        validation=chosen_by,
        folder=Path(folder) if folder is not None else None,
        checkpoint_every=checkpoint_every or twentieth,
    )
    loop.restore(resume)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), interruptible() as interrupt:
        return loop.run(tasks.to(fabric.device), interrupt)
