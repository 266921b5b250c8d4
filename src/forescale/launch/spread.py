"""What Ray and Slurm share: keep so many calls in flight, try killed ones again, give outcomes as they end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from forescale.base.errors import ForescaleError, SystemFailure
from forescale.base.executor import Outcome, P, R
from forescale.launch.call import Call

H = TypeVar("H")


AGAIN = "run the same command again: finished parts are not repeated"
"""What to do about a lost call."""


class LostError(SystemFailure):
    """A call ended without an answer: its process or its machine went away."""


class Spreading(ABC, Generic[H]):
    """An executor over a scheduler that starts calls and knows which have ended; H is its handle of a call."""

    def __init__(self, workers: int, threads: int) -> None:
        self._workers, self.threads = workers, threads

    @property
    def workers(self) -> int:
        """How many calls are in flight at once."""
        return self._workers

    @abstractmethod
    def submit(self, call: Call) -> H:
        """Start a call; gives a handle."""

    @abstractmethod
    def wait(self, handles: Sequence[H]) -> Sequence[H]:
        """Those that have ended; waits until there is one."""

    @abstractmethod
    def answer(self, handle: H) -> tuple[bool, Any]:
        """(true, result) or (false, error); a call that was killed is (false, a LostError)."""

    @abstractmethod
    def cancel(self, handle: H) -> None:
        """Stop a call."""

    def map(
        self, function: Callable[[P], R], parts: Sequence[P], *, label: str = "", retries: int = 1
    ) -> Iterator[Outcome[P, R]]:
        """Run `function` on every part, a call each; errors that are ours and would come again are not tried again."""
        waiting, tries = deque(range(len(parts))), [0] * len(parts)
        flying: dict[int, H] = {}
        try:
            while waiting or flying:
                while waiting and len(flying) < self._workers:
                    index = waiting.popleft()
                    flying[index] = self.submit(Call.of(function, parts[index], self.threads))
                ended = self.wait(list(flying.values()))
                for index in [i for i, handle in flying.items() if any(handle is e for e in ended)]:
                    good, value = self.answer(flying.pop(index))
                    again = not good and (isinstance(value, LostError) or not isinstance(value, ForescaleError))
                    if again and tries[index] < retries:
                        tries[index] += 1
                        waiting.append(index)
                    else:
                        yield Outcome(index, parts[index], value if good else None, None if good else value)
        finally:
            for handle in flying.values():
                self.cancel(handle)
