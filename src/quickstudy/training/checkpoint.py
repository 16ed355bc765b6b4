"""Checkpoints: everything a run needs to go on, whole or absent, read without unpickling code."""

from pathlib import Path
from typing import Any

import torch

from quickstudy.files import replacing

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers, text and containers of them to `path`, atomically."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, its tensors to `device`.

    Raises:
        ValueError: it is damaged, or something else.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # from bytes that mean nothing, the reader fails in any way there is
        raise ValueError(f"{path} is damaged, or no checkpoint: {error}") from error
