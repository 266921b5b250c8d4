"""The ledger's lines and what they add up to; exactly the keys that `ledger --json` prints."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from forescale.base.records.record import Record


class LedgerLine(Record):
    """One line of `ledger.jsonl`. `digest` is the SHA-256 of all other fields, `previous` that of the line before."""

    n: int
    kind: Literal["planned", "sealed", "outcome"]
    plan: str
    """Name or path of the plan."""
    plan_sha256: str = ""
    run: str | None = None
    seal: str | None = None
    """Of an outcome: the digest of the sealed line it answers."""
    target_flops: float | None = None
    extrapolation: float | None = None
    predicted: float | None = None
    interval: tuple[float, float] | None = None
    level: float | None = None
    unit: str = ""
    validation: str = ""
    """Names the validation set: losses on different ones are different targets."""
    outcome: float | None = None
    flops_done: float | None = None
    note: str = ""
    at: str
    """UTC time of writing, ISO 8601."""
    torn: str | None = None
    """SHA-256 of the unfinished line above, where a crash left one: this line closes it."""
    previous: str
    digest: str

    @staticmethod
    def digest_of(fields: dict[str, Any]) -> str:
        """The digest of a line's other fields, in canonical JSON."""
        rest = {key: value for key, value in fields.items() if key != "digest"}
        return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class LedgerEntry(Record):
    """A plan or a seal, with its outcome."""

    plan: str
    run: str | None
    kind: Literal["planned", "sealed"]
    digest: str
    sealed_at: str
    """When the line was written."""
    target_flops: float | None
    extrapolation: float | None
    predicted: float | None
    interval: tuple[float, float] | None
    outcome: float | None
    error: float | None
    """predicted / actual - 1."""
    inside: bool | None
    counts: bool
    level: float | None = None
    unit: str = ""
    validation: str = ""


class Coverage(Record):
    """How many counting outcomes fell inside their interval, with a 90% binomial (Clopper-Pearson) interval."""

    inside: int
    of: int
    interval: tuple[float, float]


class ChangedFile(Record):
    """A plan or a run's record that is not what its line says."""

    file: str
    line: int
    """Number of the ledger's record that it does not match."""
    what: str


class LedgerView(Record):
    """All of the ledger, added up."""

    entries: list[LedgerEntry]
    coverage: Coverage
    median_error: float | None
    """Median of |predicted / actual - 1| over the counting outcomes."""
    chain_ok: bool
    broken_line: int | None = None
    """First line of the file (from 1) at which the chain does not close: edited, removed, moved or put in."""
    torn_lines: list[int] = Field(default_factory=list)
    """Lines of the file cut off in mid-write (a crash): ignored, and shown."""
    changed: list[ChangedFile] = Field(default_factory=list)
    """Plans and records of the workspace that were edited after their lines were written."""
    digest: str = ""
    """Digest of the last line: publish it, and nobody can change what is above."""
    warnings: list[str] = Field(default_factory=list)
