"""What a room that works in parts knows of the machines: this protocol, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[P, R]):
    """One part's end: its result, or the error after the last retry."""

    index: int
    part: P
    result: R | None
    error: BaseException | None = None


class Executor(Protocol):
    """Maps a pure, importable (picklable) function over parts; yields outcomes as they end, in any order."""

    @property
    def workers(self) -> int:
        """How many parts run at once."""
        ...

    def map(
        self, function: Callable[[P], R], parts: Sequence[P], *, label: str = "", retries: int = 1
    ) -> Iterator[Outcome[P, R]]:
        """Run `function` on every part. An error in a part never stops the others: it is in its Outcome."""
        ...


class InlineExecutor:
    """One part after another in this process: for tests, and for work too small to share."""

    workers = 1

    def map(
        self, function: Callable[[P], R], parts: Sequence[P], *, label: str = "", retries: int = 1
    ) -> Iterator[Outcome[P, R]]:
        """Run in order; errors are kept in the outcome, as every executor does."""
        for index, part in enumerate(parts):
            try:
                yield Outcome(index, part, function(part))
            except Exception as error:
                yield Outcome(index, part, None, error)


def results(outcomes: Iterator[Outcome[P, R]]) -> list[R]:
    """All results in the order of the parts; the first error is raised, after all parts have ended."""
    ended = sorted(outcomes, key=lambda o: o.index)
    for outcome in ended:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.result for outcome in ended]  # type: ignore[misc]
