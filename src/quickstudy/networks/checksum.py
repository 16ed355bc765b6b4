"""Checksums of tensors and modules, to name what was computed with them."""

import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["module_checksum", "tensor_checksum"]

_DIGITS = 16  # hexadecimal


def tensor_checksum(tensor: Tensor) -> str:
    """Sixteen hexadecimal digits that say which numbers a tensor holds, in which shape and precision."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]


def module_checksum(module: nn.Module) -> str:
    """Sixteen hexadecimal digits that say what a module computes: weights, buffers, settings and source.

    Settings are the attributes of its parts that are numbers, texts, functions or tensors, or tuples and lists of such;
    source is that of their classes, torch's own counting as its version. What cannot be seen so (a helper function's
    source, say) is left out. Whether it is in training mode does not count.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    for name, part in module.named_modules():
        digest.update(f"\nmodule {name} {_source(type(part))}".encode())
        for attribute in sorted(set(vars(part)) - {"training"}):
            if attribute.startswith("_") and isinstance(vars(part)[attribute], dict):
                continue  # torch's own books; weights and buffers follow
            for text in _settings(vars(part)[attribute]):
                digest.update(f"\n{attribute} {text}".encode())
        for owned in (part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
            for own, tensor in owned:
                digest.update(f"\n{own} {tensor_checksum(tensor)}".encode())
    return digest.hexdigest()[:_DIGITS]


def _source(cls: type) -> str:
    if cls.__module__.partition(".")[0] == "torch":
        return f"{cls.__module__}.{cls.__qualname__}"
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # typed into a console
        return f"{cls.__module__}.{cls.__qualname__}"


def _settings(value: Any) -> Iterator[str]:
    """What of an attribute's value is the same in another process."""
    if isinstance(value, Tensor):
        yield tensor_checksum(value)
    elif value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        yield repr(value)
    elif isinstance(value, tuple | list):
        yield f"{len(value)}:"
        for item in value:
            yield from _settings(item)
    elif callable(value) and hasattr(value, "__qualname__"):
        yield f"{getattr(value, '__module__', '')}.{value.__qualname__}"
