"""What a section of the page is made of: facts with their meaning, figures, tables, equations. No markup here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from forescale.report.figure import Figure


@dataclass(frozen=True)
class Link:
    """Words that lead somewhere: to an anchor of the page (`#...`) or to a file beside it."""

    text: str
    to: str


Cell = str | Link


@dataclass(frozen=True)
class Fact:
    """One number, its name, and a sentence on what it means."""

    label: str
    value: str
    meaning: str = ""
    tone: str = ""
    """good, bad or empty."""
    unit: str = ""
    link: Link | None = None


@dataclass(frozen=True)
class Table:
    """Rows under heads; `words` are the columns (from 0) that hold words rather than numbers."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: tuple[int, ...] = (0,)
    ids: tuple[str, ...] = ()
    """Anchor of each row."""
    sortable: bool = False


@dataclass(frozen=True)
class Equation:
    """A law, ready to copy: as text, as LaTeX, and its parameters' intervals."""

    name: str
    plain: str
    latex: str
    intervals: str
    meaning: str


@dataclass(frozen=True)
class Exchange:
    """One prompt, and what each stage answered."""

    prompt: str
    answers: tuple[tuple[str, str, str], ...]
    """Stage, answer, remark."""


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str
    """Its anchor."""
    title: str
    lead: str
    facts: tuple[Fact, ...] = ()
    figures: tuple[Figure, ...] = ()
    equations: tuple[Equation, ...] = ()
    tables: tuple[Table, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    warnings: tuple[str, ...] = ()
    source: tuple[Link, ...] = field(default=())
    """Where its numbers come from."""


def anchor(run: str) -> str:
    """The anchor of a run's row: readable, and different for different names."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", run)
    return f"run-{plain}" if plain == run else f"run-{plain}-{hashlib.sha256(run.encode()).hexdigest()[:6]}"


def file_link(text: str, path: str | None) -> tuple[Link, ...]:
    """A link to a file or folder beside the page; none where the path is not known."""
    return (Link(text, quote(path, safe="/._-~")),) if path else ()


def only(*facts: Fact | None) -> tuple[Fact, ...]:
    """The facts that are known."""
    return tuple(fact for fact in facts if fact is not None)


def drawn(*figures: Figure | None) -> tuple[Figure, ...]:
    """The figures that could be drawn."""
    return tuple(figure for figure in figures if figure is not None)


def span(interval: Sequence[float] | None, text: str = "{} to {}") -> str:
    """An interval in words."""
    from forescale.report.figure import number

    return text.format(*(number(end) for end in interval)) if interval else "–"


def table(caption: str, head: Iterable[str], rows: Iterable[Iterable[Cell]], *, words: tuple[int, ...] = (0,)) -> Table:
    """A table from any rows."""
    return Table(caption, tuple(head), tuple(tuple(row) for row in rows), words)
