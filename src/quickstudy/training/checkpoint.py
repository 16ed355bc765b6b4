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
    """Read what `save_checkpoint` wrote, its tensors to `device`."""
    return torch.load(path, map_location=device, weights_only=True)
