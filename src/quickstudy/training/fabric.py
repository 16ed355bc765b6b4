"""Where to compute, and how precisely: one device, or the processes that torchrun started."""

import atexit
import os
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from quickstudy.tasks.batch import Tree, map_tensors

__all__ = ["PRECISIONS", "Precision", "loss_scaler", "make_fabric", "to_module"]

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


class _Autocast(MixedPrecision):
    """Mixed precision by autocast alone: Fabric's own also casts every batch to half precision on the way in, which
    would leave regression targets three digits."""

    def convert_input(self, data: Any) -> Any:
        return data

    def convert_output(self, data: Any) -> Any:
        return data


def loss_scaler(fabric: Fabric) -> Any:
    """What scales losses, under float16; None under other precisions."""
    return getattr(fabric.strategy.precision, "scaler", None)


def make_fabric(device: str = "auto", precision: Precision = "32-true") -> Fabric:
    """A launched Fabric for one device, or for all processes when torchrun started several.

    Args:
        device: `auto` (a GPU when there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `32-true`, `bf16-mixed` or `16-mixed` (autocast; float16 scales the loss), `64-true`.

    Raises:
        ValueError: an unknown device or precision, or a number of a device together with several processes.
    """
    if not isinstance(device, str):
        raise TypeError(f"device must be a text such as 'cpu', got {device!r}")
    accelerator, _, number = device.partition(":")
    if accelerator not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:NUMBER or mps, got {device!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    elif accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no GPU; use cpu or auto")
    settings: dict[str, Any] = {"accelerator": accelerator}
    if precision.endswith("-mixed"):
        settings["plugins"] = _Autocast(precision, accelerator)  # type: ignore[arg-type]
    else:
        settings["precision"] = precision
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        if number:
            raise ValueError(f"torchrun gives every process a device of its own; got device {device!r}")
        nodes = processes // int(os.environ.get("LOCAL_WORLD_SIZE", processes))
        fabric = Fabric(strategy="ddp", devices=processes // nodes, num_nodes=nodes, **settings)
    else:
        fabric = Fabric(devices=[int(number)] if number else 1, **settings)
    fabric.launch()
    if processes > 1:
        # A process that ends with its connections open is aborted now and then.
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def to_module(batch: Tree, module: nn.Module, fabric: Fabric) -> Tree:
    """`batch` on the device of `fabric`, its floating-point numbers in float64 where the module's weights are."""
    batch = fabric.to_device(batch)
    if next((p.dtype for p in module.parameters()), None) != torch.float64:
        return batch
    return map_tensors(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, batch)
