"""What a result was computed on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["machine"]


def machine(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Processor, the versions that matter, and the GPU when `device` is one."""
    device = torch.device(device)
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
