"""The wish to stop: SIGINT and SIGTERM are heard, and acted on when the current step is done."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal; its state is on the disk, and the same call goes on with it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by signal {number}; run the same command again to go on")
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as shells count."""
        return 128 + self.number

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.number,)


class StopWish:
    """While open, the first SIGINT or SIGTERM is remembered; a second SIGINT interrupts at once.

    Outside the main thread Python does not let handlers be set: then signals do what they did before.
    """

    def __init__(self) -> None:
        self.signal: int = signal.SIGINT
        self.wanted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.wanted, self.signal = True, number
