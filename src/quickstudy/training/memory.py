"""Keeping freed memory, which makes training on CPUs faster."""

import ctypes
import sys

__all__ = ["reuse_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def reuse_memory() -> bool:
    """Have the C library keep freed memory for the next allocation instead of returning it to the system.

    glibc maps every tensor above 32 MiB afresh and unmaps it when it is freed, and the system then clears each page at
    its first touch. A training step of convolutions makes and frees dozens of such tensors. Keeping them was measured
    to make it twice as fast on one machine and hardly faster on another (`benchmarks/seconds_to_97.py`). The price is
    that the process holds on to its peak of memory, and that the setting is of the whole process: so the command makes
    it, and a library user may.

    Returns:
        Whether the C library took the setting (glibc does, others are left alone).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
