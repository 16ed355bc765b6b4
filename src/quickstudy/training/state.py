"""The state of a balancing method, which its authors keep in plain attributes, as something that can be saved."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchjd.scalarization import FAMO

__all__ = ["restored", "snapshot"]

_PLAIN = (bool, int, float, str, torch.dtype, torch.device)
_OF_TORCH = frozenset(vars(nn.Module()))


def snapshot(method: nn.Module) -> dict[str, Any]:
    """Parameters, buffers and attributes of a module and its parts: tensors, numbers and containers of them.

    Attributes of other kinds (a solver's compiled problem) are left out; they follow from the rest.
    """
    state: dict[str, Any] = {"class": type(method).__name__}
    for name, part in method.named_modules():
        held = {**part._parameters, **part._buffers}
        held |= {key: value for key, value in vars(part).items() if key not in _OF_TORCH}
        state[name] = {key: _written(value) for key, value in held.items() if _can_be_written(value)}
    return state


def restored(method: nn.Module, state: dict[str, Any]) -> None:
    """Put a snapshot back.

    Raises:
        ValueError: it is of another method.
    """
    if state["class"] != type(method).__name__:
        raise ValueError(f"the state is of {state['class']}, the method is {type(method).__name__}")
    for name, part in method.named_modules():
        for key, value in state[name].items():
            _put_back(part, key, value)
        # Nash-MTL makes its problem at its first step only.
        if getattr(part, "step", 0) and hasattr(part, "_init_optim_problem"):
            part._init_optim_problem()


def _put_back(part: nn.Module, key: str, value: Any) -> None:
    if key in part._parameters:
        with torch.no_grad():
            part._parameters[key].copy_(value)  # type: ignore[union-attr]
    elif key in part._buffers:
        part._buffers[key] = _read(value)
    elif isinstance(value, dict) and "optimizer" in value:
        if getattr(part, key) is None and isinstance(part, FAMO):  # made at its first update
            setattr(part, key, Adam([part._w], lr=part.lr, weight_decay=part.weight_decay))
        getattr(part, key).load_state_dict(value["optimizer"])
    else:
        vars(part)[key] = _read(value)


def _can_be_written(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_can_be_written(item) for item in value)
    return value is None or isinstance(value, (*_PLAIN, Tensor, np.ndarray, Optimizer))


def _written(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_written(item) for item in value)
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return {"numpy": torch.from_numpy(value.copy())}
    return {"optimizer": value.state_dict()} if isinstance(value, Optimizer) else value


def _read(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_read(item) for item in value)
    if isinstance(value, dict) and "numpy" in value:
        return value["numpy"].cpu().numpy()
    return value.clone() if isinstance(value, Tensor) else value
