"""φ, what a learner knows of T tasks after adapting: nested dicts of tensors, the task axis first.

Being plain data, it can be cut, joined, kept in a file and served; training the learner further does not change it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from quickstudy.files import replacing

__all__ = ["Phi", "check_phi", "concatenate", "load_phi", "save_phi", "take"]

Phi: TypeAlias = dict[str, Any]


def take(phi: Phi, tasks: int | slice | Tensor | Sequence[int]) -> Phi:
    """φ of some of the tasks; a single number keeps the task axis, with length one."""
    index = [tasks] if isinstance(tasks, int) else tasks
    return tree_map(lambda tensor: tensor[index], phi)


def concatenate(phis: Sequence[Phi]) -> Phi:
    """φ of all the tasks of several φ of the same form.

    Raises:
        ValueError: there is none, or their forms differ.
    """
    if not phis:
        raise ValueError("phis is empty: there must be at least one")
    return tree_map(lambda *tensors: torch.cat(tensors), *phis)


def save_phi(phi: Phi, path: Path | str) -> None:
    """Write φ to one safetensors file, atomically."""
    tensors: dict[str, Tensor] = {}
    names: dict[str, list[str]] = {}
    empty: list[list[str]] = []

    def collect(part: Phi, place: list[str]) -> None:
        for name, value in part.items():
            if isinstance(value, dict):
                collect(value, [*place, name])
                if not value:
                    empty.append([*place, name])
            else:
                key = str(len(tensors))
                names[key] = [*place, name]
                tensors[key] = value.detach().cpu().contiguous()

    collect(phi, [])
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"names": json.dumps(names), "empty": json.dumps(empty)})


def load_phi(path: Path | str, device: str | torch.device = "cpu") -> Phi:
    """Read what `save_phi` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no φ at {path}")
    phi: Phi = {}

    def put(place: list[str], value: Any) -> None:
        part = phi
        for name in place[:-1]:
            part = part.setdefault(name, {})
        part[place[-1]] = value

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            if "names" not in header:
                raise ValueError(f"{path} does not hold a φ written by save_phi")
            for key, place in json.loads(header["names"]).items():
                put(place, file.get_tensor(key))
            for place in json.loads(header["empty"]):
                put(place, {})
    # A header of which a bit has changed may say anything.
    except (SafetensorError, OSError, json.JSONDecodeError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or does not hold a φ written by save_phi: {error}") from error
    return phi


def check_phi(phi: Any, tasks: int) -> None:
    """Refuse what cannot be φ of these tasks.

    Raises:
        TypeError: it is no dict.
        ValueError: it is of another number of tasks.
    """
    if not isinstance(phi, dict):
        raise TypeError(f"phi must be what adapt returned, a dict of tensors, got {type(phi).__name__}")
    for leaf in tree_leaves(phi):
        if not isinstance(leaf, Tensor):
            raise TypeError(f"phi must hold tensors, got {type(leaf).__name__}")
        if leaf.ndim < 1 or leaf.shape[0] != tasks:
            raise ValueError(f"phi is of other tasks: it has a tensor {list(leaf.shape)}, and x is of {tasks} tasks")
