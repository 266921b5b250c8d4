"""What a Corpus folder, and a run of `dedup`, say of themselves."""

from __future__ import annotations

from pydantic import Field

from forescale.base.records.record import Record


class Quarantined(Record):
    """Something that could not be read, set aside with its reason; the rest of the corpus goes on."""

    file: str
    line: int | None = None
    """1-based line or row, where there is one."""
    reason: str
    bytes: int = 0


class CorpusSplit(Record):
    """One split's size and the sources in it."""

    documents: int
    bytes: int
    """UTF-8 bytes of text."""
    sources: list[str] = Field(default_factory=list)


class ContactRate(Record):
    """How much of the validation text's word n-grams occur in the training text."""

    n: int
    """Words an n-gram."""
    ngrams: int
    """Distinct n-grams in the validation split."""
    rate: float
    """Share of them that occur in training."""
    documents_touched: int
    """Validation documents with at least one such n-gram."""


class SourceCount(Record):
    """One source before and after."""

    documents: int
    bytes: int
    kept_documents: int
    kept_bytes: int


class CorpusSummary(Record):
    """`corpus/summary.json`. Beside it `train/`, `validation/` (PARQUET_COLUMNS) and `removed/` (REMOVED_COLUMNS)."""

    documents: int
    """Clean documents, both splits."""
    bytes: int
    """Their UTF-8 bytes of text."""
    removed: dict[str, int]
    """Reason -> documents."""
    removed_bytes: dict[str, int]
    """Reason -> bytes."""
    sha256: str
    """Of the clean documents in order: split, id and text."""
    files: int
    """Files that gave at least one document."""
    read_documents: int
    read_bytes: int
    train: CorpusSplit
    validation: CorpusSplit
    split_by: str
    """`sources` (whole sources) or `groups` (whole near-duplicate groups of few or too large sources)."""
    contact: ContactRate
    sources: dict[str, SourceCount]
    quarantined: int
    """Files, lines and rows that could not be read."""
    quarantine: list[Quarantined]
    """The first 1,000 of them."""
    other_files: dict[str, int]
    """Files of types that are no text, by ending: not read."""
    warnings: list[str] = Field(default_factory=list)


class DedupSummary(Record):
    """`summary.json` of `forescale dedup`."""

    documents: int
    bytes: int
    removed_documents: int
    removed_bytes: int
    by_level: dict[str, dict[str, int]]
    """`document`: exact, near (documents removed); `line`: lines, bytes."""
    by_dump: dict[str, dict[str, int]]
    """Dump -> documents, removed_documents."""
    quarantined: int = 0
    quarantine: list[Quarantined] = Field(default_factory=list)


REMOVED_COLUMNS = ("id", "reason", "kept_id", "similarity", "source", "path", "text")
"""Columns of `corpus/removed/*.parquet`; `kept_id` and `similarity` only for duplicates."""


class DemoText(Record):
    """What the demo's text, collected from the installed packages, consists of."""

    documents: int
    bytes: int
    sha256: str
    """Of ids and texts in order: the same Python and the same pins give the same."""
    pairs: int
    """Question and answer pairs."""
    sources: int
    missing: list[str]
    """Packages of the list that are not installed."""
    unreadable: int
    """Files that could not be parsed or decoded."""
    python: str
    key: str
    """Names the versions it was collected from."""
