"""The loop that Ray and Slurm share: keep so many calls in flight, try killed ones again, give outcomes as they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from forescale.base.errors import ForescaleError
from forescale.base.executor import Outcome
from forescale.launch.call import Call

H = TypeVar("H")


class Backend(Protocol, Generic[H]):
    """What a scheduler must do."""

    def submit(self, call: Call) -> H:
        """Start a call; gives a handle."""
        ...

    def wait(self, handles: Sequence[H]) -> Sequence[H]:
        """Those that have ended; waits until there is one."""
        ...

    def answer(self, handle: H) -> tuple[bool, Any]:
        """(true, result) or (false, error); a call that was killed is (false, a SystemFailure)."""
        ...

    def cancel(self, handle: H) -> None:
        """Stop a call."""
        ...


def spread(
    backend: Backend[H],
    function: Callable[[Any], Any],
    parts: Sequence[Any],
    *,
    workers: int,
    threads: int,
    retries: int,
) -> Iterator[Outcome[Any, Any]]:
    """Map `function` over `parts`; errors that are ours and would come again are not tried again."""
    waiting, tries = deque(range(len(parts))), [0] * len(parts)
    flying: dict[int, H] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < workers:
                index = waiting.popleft()
                flying[index] = backend.submit(Call.of(function, parts[index], threads))
            ended = backend.wait(list(flying.values()))
            for index in [i for i, handle in flying.items() if any(handle is e for e in ended)]:
                good, value = backend.answer(flying.pop(index))
                again = not good and (getattr(value, "lost", False) or not isinstance(value, ForescaleError))
                if again and tries[index] < retries:
                    tries[index] += 1
                    waiting.append(index)
                else:
                    yield Outcome(index, parts[index], value if good else None, None if good else value)
    finally:
        for handle in flying.values():
            backend.cancel(handle)
