"""What a table says of its rows that nobody took up: outlier marks, and choices that split the runs of one fit."""

from __future__ import annotations

import re

from forescale.scaling.columns import normal, number, text_of, where_option
from forescale.scaling.sources import Row

MARK = re.compile(r"(^|_)(outlier|outliers|is_outlier|exclude|excluded|bad|suspect|ignore|discard|flagged)$")
TRUE = frozenset({"true", "1", "1.0", "yes", "y", "t"})
CHOICES = ("schedule", "optimizer")
"""Columns of ours in whose words runs of one fit should agree."""


def marked_rows(rows: list[Row], at: list[int], names: list[str], found: dict[str, str]) -> list[str]:
    """Rows that a column calls outliers are used like the others unless their reader says no."""
    warnings = []
    for name in names:
        if name in found.values() or not MARK.search(normal(name)):
            continue
        marked = [i for i in at if text_of(rows[i].get(name)).lower() in TRUE]
        plain = sorted({text_of(rows[i].get(name)) for i in at} - {text_of(rows[i].get(name)) for i in marked} - {""})
        if marked:
            out = f"{where_option(name, plain[0])} leaves them out" if plain else "all rows are marked"
            count = f"{len(marked)} row{'s are' if len(marked) > 1 else ' is'}"
            warnings.append(f"{count} marked in `{name}` and used like the others: {out}")
    return warnings


def known_choices(rows: list[Row], at: list[int], found: dict[str, str]) -> list[str]:
    """Schedules and optimizers in one fit."""
    columns = [found[name] for name in CHOICES if name in found]
    warnings = []
    for column in columns:
        values = sorted({text_of(rows[i].get(column)) for i in at} - {""})
        if len(values) > 1 and not all(number(v) is not None for v in values):
            name = column.removeprefix("\0")
            listed = ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
            warnings.append(
                f"the runs differ in `{name}` ({listed}) and share one fit; {where_option(name, 'VALUE')} chooses"
            )
    return warnings
