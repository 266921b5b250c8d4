"""Rows that a fit leaves out, for people: a line a reason, how many rows it holds for, and the first of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console

from forescale.cli.grid import Data, table
from forescale.cli.words import num

NAMED = 5
"""Rows named for each reason (our choice); --json has them all."""
OWN = re.compile(r"`[^`]*`|\d[\d.,e+%-]*")
"""What a reason says of its own row: the cell, another row, a loss."""


def left_out(rows: Iterable[Data], out: Console) -> None:
    """One line for each kind of reason, the most frequent first."""
    kinds: dict[str, list[Data]] = {}
    for row in rows:
        kinds.setdefault(OWN.sub("…", row["reason"]), []).append(row)
    table(
        out, "Left out", ("reason", "rows", "first rows"),
        [(_reason(alike), num(len(alike)), _first(alike)) for alike in sorted(kinds.values(), key=lambda k: -len(k))],
    )  # fmt: skip


def _reason(alike: list[Data]) -> str:
    """The reason as it stands, or that of the first row where rows of one kind differ in their numbers."""
    same = len({row["reason"] for row in alike}) == 1
    return str(alike[0]["reason"]) + ("" if same else f" (row {alike[0]['row']}; the others alike)")


def _first(alike: list[Data]) -> str:
    """Data rows counted from 1; their lines in the file beside them where only one is named."""
    if len(alike) == 1 and alike[0].get("line"):
        return f"{alike[0]['row']} (line {alike[0]['line']})"
    return ", ".join(str(row["row"]) for row in alike[:NAMED]) + (", ..." if len(alike) > NAMED else "")
