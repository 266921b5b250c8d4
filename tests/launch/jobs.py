"""What test executors run: importable, so that a fresh interpreter finds it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from forescale.base.errors import InputError


def square(x: int) -> int:
    return x * x


def threads(_: int) -> tuple[str, str, int]:
    import torch

    return os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"], torch.get_num_threads()


def fail(x: int) -> int:
    if x == 1:
        raise InputError("part 1 is bad", remedy="mend it", file="a.txt", line=3)
    if x == 2:
        raise ZeroDivisionError("no reason")
    return x


def count_then_fail(path: str) -> int:
    tries = len(Path(path).read_text()) if Path(path).exists() else 0
    Path(path).write_text("x" * (tries + 1))
    if tries == 0:
        raise RuntimeError("the first time")
    return tries


def kill_myself(path: str) -> int:
    if not Path(path).exists():
        Path(path).write_text("once")
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def always_killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def anything(x: int) -> tuple[str, str, int]:
    """Good, bad or killed, by its number."""
    if x == 2:
        always_killed(x)
    fail(x)
    return threads(x)


def sleep(folder: str) -> None:
    Path(folder, str(os.getpid())).write_text("here")
    time.sleep(60)
