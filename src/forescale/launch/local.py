"""Parts shared out over this machine's processors: fresh interpreters, one part at a time each.

Not the standard pool, which is lost as a whole when one of its processes is killed. Each child is its own
interpreter with its own environment (OpenMP's settings must be there before numpy and torch are imported), in its own
session: Ctrl-C reaches the parent alone, which asks the children to end, and they save what they have.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, Self

from forescale.base.errors import ForescaleError, SystemFailure
from forescale.base.executor import Outcome, P, R
from forescale.base.runtime import child_environment, cores

GRACE_SECONDS = 20.0
"""How long a child that was asked to end may take to save its state."""

OnProgress = Callable[[str, int, int], None]
"""Called with a map's label, the parts that have ended, and all parts."""


class ChildKilledError(SystemFailure):
    """A child process ended without an answer: killed, or out of memory."""


@dataclass(eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection
    index: int | None = None
    """The part it works on."""


@dataclass
class _Job:
    """One map under way."""

    function: Callable[[Any], Any]
    parts: Sequence[Any]
    retries: int
    waiting: deque[int]
    tries: dict[int, int] = field(default_factory=dict)
    working: list[_Child] = field(default_factory=list)


class LocalExecutor:
    """`workers` processes of `threads` threads each; they stay warm between maps until `close`."""

    def __init__(self, workers: int | None = None, threads: int = 1, *, on_progress: OnProgress | None = None) -> None:
        self._workers = workers or max(1, cores() // threads)
        self.threads, self.on_progress = threads, on_progress
        self._idle: list[_Child] = []
        self._finalizer = weakref.finalize(self, _dismiss, self._idle)

    @property
    def workers(self) -> int:
        """How many parts run at once."""
        return self._workers

    def map(
        self, function: Callable[[P], R], parts: Sequence[P], *, label: str = "", retries: int = 1
    ) -> Iterator[Outcome[P, R]]:
        """Run `function` on every part, each in one of the processes.

        A killed process, or an error that is not one of ours (those would come again), is tried `retries` more
        times. Leaving the iterator early, Ctrl-C among the ways, stops the children at once.
        """
        job = _Job(function, parts, retries, deque(range(len(parts))))
        ended = 0
        try:
            while job.waiting or job.working:
                self._feed(job)
                for outcome in self._collect(job):
                    ended += 1
                    if self.on_progress is not None:
                        self.on_progress(label, ended, len(parts))
                    yield outcome
        finally:
            _stop(job.working)

    def close(self) -> None:
        """End all children."""
        _dismiss(self._idle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _feed(self, job: _Job) -> None:
        """Give waiting parts to idle children, starting children where there are too few."""
        while job.waiting and len(job.working) < self._workers:
            child = self._idle.pop() if self._idle else _start(self.threads)
            index = job.waiting.popleft()
            try:
                child.pipe.send((job.function, job.parts[index]))
            except OSError:  # it died while idle: that is no try of this part
                _reap(child)
                job.waiting.appendleft(index)
                continue
            child.index = index
            job.working.append(child)

    def _collect(self, job: _Job) -> Iterator[Outcome[Any, Any]]:
        """Wait for at least one child; give the outcomes that are final."""
        ready = wait([child.pipe for child in job.working])
        for child in [c for c in job.working if c.pipe in ready]:
            job.working.remove(child)
            index = child.index
            assert index is not None
            result, error = _answer(child)
            if isinstance(error, ChildKilledError):
                _reap(child)
            else:
                child.index = None
                self._idle.append(child)
            again = error is not None and (isinstance(error, ChildKilledError) or not isinstance(error, ForescaleError))
            if again and job.tries.get(index, 0) < job.retries:
                job.tries[index] = job.tries.get(index, 0) + 1
                job.waiting.append(index)
                continue
            yield Outcome(index, job.parts[index], result, error)


def _start(threads: int) -> _Child:
    here, there = Pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "forescale.launch.child", str(there.fileno())],
            env=child_environment(threads),
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise SystemFailure(
            f"cannot start a process: {error.strerror or error}", remedy="close programs, or use fewer workers"
        ) from error
    there.close()
    here.send(list(sys.path))
    return _Child(process, here)


def _answer(child: _Child) -> tuple[Any, BaseException | None]:
    try:
        good, value = child.pipe.recv()
    except (EOFError, OSError):
        code = child.process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return None, ChildKilledError(
            f"a worker process ended {how} before its part was done",
            why="signal 9 mostly means that memory ran out" if code == -9 else "",
            remedy="run the same command again: finished parts are not repeated; use fewer workers if memory is short",
        )
    return (value, None) if good else (None, value)


def _stop(children: list[_Child]) -> None:
    """Ask working children to end (they save their state), and end those that do not."""
    for child in children:
        with contextlib.suppress(OSError):
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for child in children:
            _reap(child)
        children.clear()


def _reap(child: _Child) -> None:
    child.pipe.close()
    with contextlib.suppress(OSError):
        child.process.kill()
    child.process.wait()


def _dismiss(idle: list[_Child]) -> None:
    """Idle children end by themselves when their pipe closes."""
    for child in idle:
        child.pipe.close()
    for child in idle:
        try:
            child.process.wait(2.0)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
    idle.clear()
