"""The training loop: one step after another, each a function of the seed and its number.

Every random number depends on the seed and the step alone, so that a run continued from a checkpoint is the run that
was never stopped.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.lr_scheduler import LRScheduler

from quickstudy import progress
from quickstudy.tasks.source import Sampler
from quickstudy.training.backward import Backward, Losses, flat
from quickstudy.training.checkpoint import load_checkpoint, save_checkpoint
from quickstudy.training.errors import NonFiniteLossError, naming_draws
from quickstudy.training.fabric import loss_scaler, to_module
from quickstudy.training.history import History, RunningMean
from quickstudy.training.interrupt import Interrupt
from quickstudy.training.log import Log
from quickstudy.training.validation import Validation

__all__ = ["Loop"]


class Loop:
    """A run, between two of its steps.

    Args:
        module: what is trained.
        forward: the module as Fabric wrapped it (and compiled, and spread over processes).
        optimizer: likewise.
        schedule: of the learning rate, stepped after every step.
        fabric: the device and the processes.
        steps, batch_size, seed: of the run; they may not change when it is resumed.
        clip: largest norm of the gradient.
        backward: from losses to gradients.
        validation: what weights are chosen by.
        folder: where the log and the checkpoint are; None keeps nothing.
        checkpoint_every: steps between checkpoints.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Any,
        optimizer: Any,
        schedule: LRScheduler | None,
        fabric: Fabric,
        *,
        steps: int,
        batch_size: int,
        seed: int,
        clip: float | None,
        backward: Backward | Callable[[Losses, Fabric], None],
        validation: Validation | None,
        folder: Path | None,
        checkpoint_every: int,
    ) -> None:
        self.module, self.forward, self.fabric = module, forward, fabric
        self.optimizer, self.schedule = optimizer, schedule
        self.steps, self.batch_size, self.seed, self.clip = steps, batch_size, seed, clip
        self.backward, self.validation, self.folder = backward, validation, folder
        self.checkpoint_every, self.log_every = checkpoint_every, max(1, steps // 200)
        self.history, self.running = History(), RunningMean()
        self.best: dict[str, Tensor] | None = None

    def run(self, tasks: Sampler[Any], interrupt: Interrupt) -> History:
        """Train until the steps are done, patience is at its end, or someone asks to stop."""
        history, quiet = self.history, not self.fabric.is_global_zero
        self.log = Log(self.folder / "log.jsonl" if self.folder and not quiet else None, history.steps)
        self.started = time.monotonic() - history.seconds
        self.module.train()
        with progress.bar("training", self.steps, history.steps, quiet) as bar:
            while history.steps < self.steps and not history.stopped_early:
                self._step(tasks)
                bar.advance()
                last = history.steps == self.steps
                if last or history.steps % self.log_every == 0:
                    bar.note(f"loss {self._log_loss():.4f}")
                if self.validation is not None and (last or history.steps % self.validation.every == 0):
                    bar.note(f"validation {self._validate(self.validation):.4f}")
                over, asked = last or history.stopped_early, self._anyone(interrupt.asked)
                if over or asked or history.steps % self.checkpoint_every == 0:
                    self._save()
                if asked and not over:
                    raise KeyboardInterrupt(f"stopped after {history.steps} of {self.steps} steps")
        if self.best is not None:
            self.module.load_state_dict(self.best)
        self.module.eval()
        return history

    def _step(self, tasks: Sampler[Any]) -> None:
        step, world, rank = self.history.steps, self.fabric.world_size, self.fabric.global_rank
        # Dropout and the like depend on the step, not on what came before it: nothing of them needs saving.
        torch.manual_seed(_mixed(self.seed, step, rank))
        batch = tasks.sample(step, self.batch_size, self.seed, rank=rank, world=world)
        self.optimizer.zero_grad()
        reduces = world > 1 and getattr(self.backward, "reduces", False)
        with self.fabric.no_backward_sync(self.forward, enabled=reduces):
            part = self.batch_size // world
            with naming_draws(step * self.batch_size + rank * part, part, self.seed):
                batch = to_module(batch, self.module, self.fabric)
                losses = self.forward(batch)
            self._check_finite(losses, step)
            self.backward(losses, self.fabric)
        self._check_gradients(step)
        self.optimizer.step()
        if getattr(self.backward, "looks_again", False):
            torch.manual_seed(_mixed(self.seed, step, rank))
            with torch.no_grad():
                self.backward.after(self.forward(batch), self.fabric)  # type: ignore[union-attr]
        if self.schedule is not None:
            self.schedule.step()
        self.running.add(flat(losses).detach().mean())
        self.history.steps += 1
        self.history.seconds = time.monotonic() - self.started

    def _check_finite(self, losses: Losses, step: int) -> None:
        values = flat(losses).detach()
        finite = torch.isfinite(values)
        if not self._anyone(not bool(finite.all())):
            return
        if finite.all():
            raise NonFiniteLossError(float("nan"), step, "of another process", self.seed)
        index = int((~finite).nonzero()[0])
        if isinstance(losses, dict):
            task: int | str = list(losses)[index]
        else:
            part = self.batch_size // self.fabric.world_size
            task = step * self.batch_size + self.fabric.global_rank * part + index
        raise NonFiniteLossError(float(values[index]), step, task, self.seed)

    def _check_gradients(self, step: int) -> None:
        """Clip the gradients; stop before one that is not finite reaches the weights."""
        if self.clip is not None:
            norm = self.fabric.clip_gradients(
                self.forward, self.optimizer, max_norm=self.clip, error_if_nonfinite=False
            )
        else:
            norm = get_total_norm([p.grad for p in self.module.parameters() if p.grad is not None])
        # Under float16 the loss is scaled, by so much that gradients overflow now and then; such steps are left out.
        if self._scaler is None and norm is not None and not torch.isfinite(norm):
            raise NonFiniteLossError(float(norm), step, "of any number", self.seed, "the norm of the gradient")

    @property
    def _scaler(self) -> Any:
        return loss_scaler(self.fabric)

    def _log_loss(self) -> float:
        loss = float(self._reduced(self.running.take(), "mean"))
        self.history.losses.append((self.history.steps, loss))
        rate, seconds = self.optimizer.param_groups[0]["lr"], round(self.history.seconds, 3)
        self.log.write(self.history.steps, loss=loss, rate=rate, seconds=seconds)
        return loss

    def _validate(self, validation: Validation) -> float:
        value = validation.value(self.module, self.fabric, self.batch_size)
        best = self.history.add_validation(value, validation.patience)
        if best:
            self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        self.history.seconds = time.monotonic() - self.started
        self.log.write(self.history.steps, validation=value, best=best, seconds=round(self.history.seconds, 3))
        return value

    def _anyone(self, flag: bool) -> bool:
        """Whether `flag` is True in any process: all must raise, save or stop together."""
        if self.fabric.world_size == 1:
            return flag
        return bool(self._reduced(torch.tensor(float(flag), device=self.fabric.device), "sum") > 0)

    def _reduced(self, value: Tensor, how: str) -> Tensor:
        """The sum or the mean over processes."""
        reduced = self.fabric.all_reduce(value, reduce_op=how)
        assert isinstance(reduced, Tensor)  # Fabric also reduces trees
        return reduced

    @property
    def _identity(self) -> dict[str, int]:
        """What must not change between the parts of a run."""
        return {"steps": self.steps, "batch_size": self.batch_size, "seed": self.seed}

    def _save(self) -> None:
        if self.folder is None or not self.fabric.is_global_zero:
            return
        state = {
            "run": self._identity,
            "history": asdict(self.history),
            "running": self.running.state(),
            "module": self.module.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "scaler": self._scaler.state_dict() if self._scaler else None,
            "backward": self.backward.state_dict() if isinstance(self.backward, Backward) else {},
        }
        save_checkpoint(state, self.folder / "checkpoint.pt")

    def restore(self, resume: bool) -> None:
        """Take up the run in the folder, if there is one.

        Raises:
            FileExistsError: there is one and `resume` is False.
            ValueError: it is a run with other steps, batch size or seed, or of another module.
        """
        if self.folder is None or not (self.folder / "checkpoint.pt").exists():
            return
        if not resume:
            raise FileExistsError(f"{self.folder} holds a run; resume it, or choose another folder")
        state = load_checkpoint(self.folder / "checkpoint.pt", self.fabric.device)
        if not isinstance(state, dict) or "run" not in state:
            raise ValueError(f"{self.folder / 'checkpoint.pt'} is no checkpoint of a run; choose another folder")
        if state["run"] != self._identity:
            raise ValueError(
                f"the checkpoint in {self.folder} is of a run with {state['run']}, this one has {self._identity}; "
                "resume with the same, or choose another folder"
            )
        self.history = History(**state["history"])
        self.running.restore(state["running"])
        try:
            self.module.load_state_dict(state["module"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint in {self.folder} is of another module: {error}") from error
        self.best = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        if isinstance(self.backward, Backward):
            if "backward" not in state:
                raise ValueError(
                    f"the checkpoint in {self.folder} was written before `backward` had a state; choose another folder"
                )
            self.backward.load_state_dict(state["backward"])


def _mixed(seed: int, step: int, rank: int) -> int:
    """One seed from three numbers, near ones far apart (the finaliser of splitmix64)."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB + 1) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ (value >> shift)) * factor) % 2**64
    return value ^ (value >> 31)
