"""The ledger: forecasts sealed before their runs, one JSON line each, every line holding the hash of the one before.

Nothing is ever rewritten. An edit, a removal or an insertion breaks the chain from that line on; a chain that was cut
at its end, or forged anew as a whole, shows against the digest that was published. A crash in mid-write leaves a torn
last line, without a newline: it is ignored and shown, and the next line names its hash, which closes it. Any other line
that is no record was put in, and breaks the chain.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from scipy.stats import beta as beta_distribution

from forescale.base.errors import ArtifactError, ConfigError
from forescale.base.files import disk_failure
from forescale.base.records.ledger import Coverage, LedgerEntry, LedgerLine, LedgerView
from forescale.base.records.plan import Plan

GENESIS = "0" * 64
SAME_TARGET = 1.10
"""Two targets are one when they share the validation set and their FLOPs lie within this factor (contract)."""
COVERAGE_LEVEL = 0.9
BROKEN = "a line was edited, removed, moved or put in there"


@dataclass
class Chain:
    """The file as read: good lines, the first broken one, torn ones, and the hash of those at the end."""

    lines: list[LedgerLine] = field(default_factory=list)
    broken: int | None = None
    torn: list[int] = field(default_factory=list)
    tail: str | None = None

    @property
    def head(self) -> str:
        """Digest of the last readable line."""
        return self.lines[-1].digest if self.lines else GENESIS


class Ledger:
    """The ledger at a path; the file is made by the first line."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def planned(self, plan: Plan, name: str, *, validation: str = "", note: str = "") -> LedgerLine:
        """Write down that a plan was made."""
        return self._append({"kind": "planned", "plan": name, "validation": validation, "note": note} | _target(plan))

    def seal(
        self, plan: Plan, name: str, *, run: str | None = None, validation: str = "", note: str = ""
    ) -> LedgerLine:
        """Seal a plan's forecast, before step 0 of its run. The line's `digest` goes into the run's spec.

        A named run that was sealed with the very same plan, and has no outcome yet, keeps its seal: a crash between
        sealing and step 0 must not cost the run its first seal.
        """
        if run is not None:
            lines = self.read().lines
            ended = {line.seal for line in lines if line.kind == "outcome"}
            same = ("sealed", run, validation, plan.digest)
            for line in lines:
                found = (line.kind, line.run, line.validation, line.plan_sha256)
                if found == same and line.digest not in ended:
                    return line
        fields = {"kind": "sealed", "plan": name, "run": run, "validation": validation, "note": note}
        return self._append(fields | _target(plan))

    def outcome(self, seal: str, loss: float, *, flops: float | None = None, note: str = "") -> LedgerLine:
        """Write down what a sealed run reached. The same outcome twice is written once."""
        chain = self.read()
        sealed = next((line for line in chain.lines if line.kind == "sealed" and line.digest == seal), None)
        if sealed is None:
            raise ArtifactError(
                f"no sealed line of {self.path} has the digest {seal[:16]}",
                why="an outcome counts only against a forecast that was sealed before its run",
                remedy="pretrain from a plan: it seals the forecast before step 0",
                file=self.path,
            )
        for line in chain.lines:
            if line.kind == "outcome" and line.seal == seal and line.outcome == loss:
                return line
        return self._append(
            {"kind": "outcome", "plan": sealed.plan, "run": sealed.run, "seal": seal, "outcome": loss,
             "flops_done": flops, "unit": sealed.unit, "validation": sealed.validation, "note": note}
        )  # fmt: skip

    def read(self) -> Chain:
        """All lines, with the chain checked."""
        try:
            return _check(self.path.read_bytes())
        except FileNotFoundError:
            return Chain()

    def view(self, published: str | None = None) -> LedgerView:
        """Forecast against outcome, calibration so far, chain intact or not; `published`: a digest to look for."""
        chain = self.read()
        entries = _entries(chain.lines)
        known = [e for e in entries if e.counts and e.inside is not None]
        errors = sorted(abs(e.error) for e in entries if e.counts and e.error is not None)
        inside = sum(bool(e.inside) for e in known)
        held = published is None or any(line.digest.startswith(published) for line in chain.lines)
        return LedgerView(
            entries=entries,
            coverage=Coverage(inside=inside, of=len(known), interval=binomial_interval(inside, len(known))),
            median_error=_median(errors),
            chain_ok=chain.broken is None and held,
            broken_line=chain.broken,
            torn_lines=chain.torn,
            digest=chain.head,
            warnings=_remarks(chain, entries, self.path),
        )

    def _append(self, fields: dict[str, Any]) -> LedgerLine:
        """Add one line under a lock, in one write, flushed to the disk."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file, _locked(file.fileno()):
                file.seek(0)
                data = file.read()
                chain = _check(data)
                if chain.broken is not None:
                    raise ArtifactError(
                        f"the ledger's chain is broken at line {chain.broken}",
                        why=f"{BROKEN}; nothing may be sealed on top of it",
                        remedy="restore the file from a copy, or move it away and begin a new ledger",
                        file=self.path,
                        line=chain.broken,
                    )
                line = _complete(fields | {"torn": chain.tail}, n=len(chain.lines) + 1, previous=chain.head)
                torn = b"\n" if data and not data.endswith(b"\n") else b""
                _whole(file.fileno(), len(data), torn + line.model_dump_json().encode() + b"\n")
                return line
        except OSError as error:
            raise disk_failure(error, self.path) from error


def _whole(descriptor: int, size: int, line: bytes) -> None:
    """Append all of a line and flush it, or leave the file as it was."""
    try:
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Alone with the file: other writers wait."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _complete(fields: dict[str, Any], *, n: int, previous: str) -> LedgerLine:
    """The line with number, time, link and digest."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    draft = LedgerLine(n=n, at=at, previous=previous, digest="", **fields)
    return draft.model_copy(update={"digest": LedgerLine.digest_of(draft.to_json())})


def _check(data: bytes) -> Chain:
    """Follow the chain from the first line on."""
    chain = Chain()
    no_record: list[tuple[int, bytes]] = []  # since the last line that is one
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            fields = json.loads(raw)
        except (json.JSONDecodeError, UnicodeDecodeError):
            no_record.append((number, raw))
            continue
        try:
            line = LedgerLine.model_validate(fields)
        except ValidationError:
            chain.broken = chain.broken or number
            continue
        if line.torn != _tail(no_record):
            chain.broken = chain.broken or (no_record[0][0] if no_record else number)
        true = line.digest == LedgerLine.digest_of(fields) and line.previous == chain.head
        if not (true and line.n == len(chain.lines) + 1):
            chain.broken = chain.broken or number
        chain.torn += [n for n, _ in no_record]
        no_record = []
        chain.lines.append(line)
    if no_record and data.endswith(b"\n"):
        chain.broken = chain.broken or no_record[0][0]
    elif no_record:
        chain.torn += [n for n, _ in no_record]
        chain.tail = _tail(no_record)
    if chain.broken is not None:
        chain.torn = [n for n in chain.torn if n < chain.broken]
    return chain


def _tail(lines: list[tuple[int, bytes]]) -> str | None:
    """The hash of what a crash left, by which the next line closes it; None of nothing."""
    return hashlib.sha256(b"\n".join(raw for _, raw in lines)).hexdigest() if lines else None


def _target(plan: Plan) -> dict[str, Any]:
    """What a line says of its plan's forecast."""
    forecast = plan.forecast
    return {
        "plan_sha256": plan.digest,
        "target_flops": plan.flops,
        "extrapolation": None if forecast is None else forecast.extrapolation.flops,
        "predicted": None if forecast is None else forecast.loss,
        "interval": None if forecast is None else forecast.interval,
        "level": None if forecast is None else forecast.level,
        "unit": "" if forecast is None else forecast.unit,
    }


def _entries(lines: list[LedgerLine]) -> list[LedgerEntry]:
    """Plans and seals in order of writing, each seal with its first outcome."""
    outcomes: dict[str, LedgerLine] = {}
    for line in lines:
        if line.kind == "outcome" and line.seal is not None:
            outcomes.setdefault(line.seal, line)
    entries: list[LedgerEntry] = []
    first: list[LedgerLine] = []
    for line in lines:
        if line.kind == "outcome":
            continue
        counts = line.kind == "sealed" and not any(same_target(line, other) for other in first)
        if counts:
            first.append(line)
        entries.append(_entry(line, outcomes.get(line.digest), counts))
    return entries


def _entry(line: LedgerLine, outcome: LedgerLine | None, counts: bool) -> LedgerEntry:
    actual = None if outcome is None else outcome.outcome
    error = inside = None
    if actual is not None and line.predicted is not None:
        error = line.predicted / actual - 1.0
    if actual is not None and line.interval is not None:
        inside = line.interval[0] <= actual <= line.interval[1]
    return LedgerEntry(
        plan=line.plan,
        run=line.run,
        kind="planned" if line.kind == "planned" else "sealed",
        digest=line.digest,
        sealed_at=line.at,
        target_flops=line.target_flops,
        extrapolation=line.extrapolation,
        predicted=line.predicted,
        interval=line.interval,
        outcome=actual,
        error=error,
        inside=inside,
        counts=counts,
        level=line.level,
        unit=line.unit,
        validation=line.validation,
    )


def same_target(a: LedgerLine, b: LedgerLine) -> bool:
    """Same validation set, and FLOPs within 10%."""
    if a.validation != b.validation or a.target_flops is None or b.target_flops is None:
        return False
    ratio = a.target_flops / b.target_flops
    return 1 / SAME_TARGET <= ratio <= SAME_TARGET


def binomial_interval(inside: int, of: int, level: float = COVERAGE_LEVEL) -> tuple[float, float]:
    """Clopper-Pearson interval of a share; (0, 1) of nothing.

    >>> tuple(round(x, 3) for x in binomial_interval(9, 10))
    (0.606, 0.995)
    """
    if not 0 <= inside <= of:
        raise ConfigError(f"{inside} of {of} is no share")
    tail = (1.0 - level) / 2.0
    low = 0.0 if inside == 0 else float(beta_distribution.ppf(tail, inside, of - inside + 1))
    high = 1.0 if inside == of else float(beta_distribution.ppf(1.0 - tail, inside + 1, of - inside))
    return low, high


def _median(values: list[float]) -> float | None:
    if not values:
        return None
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else 0.5 * (values[middle - 1] + values[middle])


def _remarks(chain: Chain, entries: Iterable[LedgerEntry], path: Path) -> list[str]:
    remarks = []
    if chain.broken is not None:
        remarks.append(f"the chain is broken at line {chain.broken} of {path}: {BROKEN}")
    for number in chain.torn:
        remarks.append(f"line {number} of {path} is torn (a crash in mid-write): it is ignored")
    remarks += _second_outcomes(chain.lines)
    for entry in entries:
        if entry.kind == "sealed" and not entry.counts:
            remarks.append(
                f"a second seal for the target of {entry.target_flops:.3g} FLOPs ({entry.plan}) does not count"
            )
    return remarks


def _second_outcomes(lines: list[LedgerLine]) -> list[str]:
    """Seals that were answered more than once: the first answer counts."""
    first: dict[str | None, LedgerLine] = {}
    remarks = []
    for line in lines:
        if line.kind == "outcome" and first.setdefault(line.seal, line) is not line:
            remarks.append(
                f"line {line.n} gives a second outcome of {line.run or line.plan}, {line.outcome}: the first, "
                f"{first[line.seal].outcome}, counts"
            )
    return remarks
