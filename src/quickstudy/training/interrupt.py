"""Stopping at a good moment: Ctrl-C and the termination signal let the running step end first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "interruptible"]


class Interrupt:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:  # the second time is meant
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within, SIGINT and SIGTERM only set a flag; a second one interrupts at once, and the end does if none saw it.

    Signals can only be caught in the main thread; in another the flag stays False.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupt.asked:
        # Nothing was left to stop here; but whoever asked wants what comes after this to stop too.
        raise KeyboardInterrupt("interrupted when training had ended")
