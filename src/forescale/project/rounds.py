"""The rounds of a ladder that goes on by itself, kept beside its table: what each promised, and what came of it.

Written before a round's first run starts, so that a killed call is gone on with and no round is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from forescale.base.files import write_atomic
from forescale.base.records.ladder import Round
from forescale.base.records.record import Record
from forescale.base.records.spec import RunSpec

FILE = "rounds.json"
PATIENCE = 2
"""Rounds in a row that may leave the width where it was."""
NARROWED = 0.02
"""Share of its width that a forecast must lose for it to be called narrower: refits alone move it by as much."""


class Planned(Record):
    """A round, and its runs as they were asked for."""

    round: Round
    specs: tuple[RunSpec, ...]


class Rounds(Record):
    """All rounds of a ladder, the first one first."""

    planned: tuple[Planned, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> Rounds:
        """What a ladder's folder says; none where it had no round yet."""
        return cls.read(folder / FILE) if (folder / FILE).exists() else cls()

    def keep(self, folder: Path) -> None:
        """Write them, whole."""
        write_atomic(folder / FILE, self.model_dump_json(indent=1).encode())

    def plan(self, round_: Round, specs: Sequence[RunSpec]) -> Rounds:
        """With one more, not yet run."""
        return Rounds(planned=(*self.planned, Planned(round=round_, specs=tuple(specs))))

    def end(self, width: float | None) -> Rounds:
        """With the last one ended at this width."""
        *before, last = self.planned
        ended = last.round.model_copy(update={"ended": True, "width_after": width})
        return Rounds(planned=(*before, last.model_copy(update={"round": ended})))

    @property
    def open(self) -> Planned | None:
        """The last one, if its runs have not all ended."""
        return self.planned[-1] if self.planned and not self.planned[-1].round.ended else None

    @property
    def all(self) -> tuple[Round, ...]:
        """Without their specs."""
        return tuple(planned.round for planned in self.planned)


def trust(rounds: Sequence[Round]) -> float:
    """Share of promised narrowing (in ln width, by the laws) that came, 0 to 1; as if one round before had kept its
    word, so that one bad round halves what is believed and does not end it."""
    ended = [r for r in rounds if r.width_after is not None]
    promised = [math.log(r.width_before / r.expected) for r in ended]
    came = [math.log(r.width_before / r.width_after) for r in ended if r.width_after is not None]
    credit = max(promised, default=0.0)
    return min(1.0, max(0.0, (credit + sum(came)) / (credit + sum(promised)))) if credit else 1.0


def stalled(rounds: Sequence[Round], allowance: float) -> tuple[Round, ...]:
    """The last rounds, if together they left the width where it was; rounds under a smaller allowance do not count: who
    raises it wants to go on."""
    last = tuple(r for r in rounds if r.ended and r.allowance >= allowance)[-PATIENCE:]
    if len(last) < PATIENCE:
        return ()
    after = last[-1].width_after
    return last if after is None or after > (1.0 - NARROWED) * last[0].width_before else ()
