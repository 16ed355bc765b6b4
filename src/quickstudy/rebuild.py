"""Objects that can be written down and made again, without pickle.

An object is the registered name of its class and the arguments that it was built with. These are read back from the
attributes of the same names (the convention that scikit-learn made common: `Conv4(channels=1)` keeps `self.channels`),
so a changed attribute is saved as changed. `save` puts that description into the header of one safetensors file beside
the weights: one file, written atomically, read without running anything that the file brings along.
"""

import difflib
import inspect
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from quickstudy.files import replacing

__all__ = ["describe", "load", "rebuild", "register", "registered", "save"]

Class = TypeVar("Class", bound=type)

FORMAT = "1"
_registry: dict[str, type] = {}


def register(cls: Class) -> Class:
    """Class decorator: instances can be saved, loaded, listed and are covered by the common tests.

    Raises:
        ValueError: another class has that name.
    """
    known = _registry.get(cls.__name__)
    # Running a notebook cell twice defines the same class twice; that is no clash.
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"a class named {cls.__name__!r} is registered already, in {known.__module__}; rename yours")
    _registry[cls.__name__] = cls
    return cls


def registered(base: type = object) -> dict[str, type]:
    """The registered subclasses of `base` by name, in the order of their definition."""
    return {name: cls for name, cls in _registry.items() if issubclass(cls, base)}


def describe(value: Any) -> Any:
    """`value` as plain JSON: numbers, text, lists and dicts as they are, registered objects as class and arguments.

    Raises:
        TypeError: something in `value` is neither, or does not keep an argument of its constructor as an attribute.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    name = type(value).__name__
    if _registry.get(name) is not type(value):
        raise TypeError(
            f"cannot write down {value!r} of class {name}: decorate the class with @quickstudy.register, and keep "
            "every argument of its constructor as an attribute of the same name"
        )
    arguments = {}
    for argument in inspect.signature(type(value)).parameters:
        if not hasattr(value, argument):
            raise TypeError(f"{name} must keep its constructor's argument {argument!r} as an attribute of that name")
        arguments[argument] = describe(getattr(value, argument))
    return {"class": name, "arguments": arguments}


def rebuild(description: Any) -> Any:
    """The inverse of `describe` (tuples come back as lists).

    Raises:
        ValueError: a class of that name is not registered in this process.
    """
    if isinstance(description, list):
        return [rebuild(item) for item in description]
    if not isinstance(description, dict):
        return description
    if set(description) != {"class", "arguments"}:
        return {key: rebuild(item) for key, item in description.items()}
    name = description["class"]
    if name not in _registry:
        near = difflib.get_close_matches(name, _registry, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no class {name!r} is registered; import the module that defines it first{hint}")
    return _registry[name](**{key: rebuild(item) for key, item in description["arguments"].items()})


def save(module: nn.Module, path: Path | str) -> Path:
    """Write `module` (learner or network) to one file, atomically; the suffix `.safetensors` is added when missing.

    Returns:
        The path that was written.
    """
    path = _with_suffix(path)
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    header = {"quickstudy": FORMAT, "module": json.dumps(describe(module))}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata=header)
    return path


def load(path: Path | str, device: str | torch.device = "cpu") -> Any:
    """Rebuild the module that `save` wrote, architecture and weights, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, not of this library, or describes what cannot be made here (a class that is
            not registered, say).
    """
    path = _with_suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"no saved module at {path}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from error
    if header.get("quickstudy") != FORMAT:
        raise ValueError(
            f"{path} was not written by quickstudy.save of this version (its format is "
            f"{header.get('quickstudy')!r}, this one reads {FORMAT!r})"
        )
    precision = next((weight.dtype for weight in weights.values() if weight.is_floating_point()), None)
    try:
        module = rebuild(json.loads(header["module"]))
        if not isinstance(module, nn.Module):
            raise TypeError(f"it describes a {type(module).__name__}")
        module.to(device=device, dtype=precision).load_state_dict(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a module that can be made again: {error}") from error
    return module.eval()


def _with_suffix(path: Path | str) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a path, got {path!r}")
    path = Path(path)
    return path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
