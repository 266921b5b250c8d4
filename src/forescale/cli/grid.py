"""Tables, and key-by-key printing for results without a layout of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from forescale.cli.words import num

Data = dict[str, Any]
WIDTH_WITHOUT_TERMINAL = 140


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The library would end the process with exit 1; a reader who went away is no error."""
        raise BrokenPipeError


def console(stream: Any) -> Console:
    """Where tables go: as wide as the terminal, or wide enough for a file."""
    plain = not stream.isatty()
    return _Console(file=stream, width=WIDTH_WITHOUT_TERMINAL if plain else None, highlight=False, markup=False)


def table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """One table; numbers to the right, words to the left; nothing for no rows."""
    body = [list(row) for row in rows]
    if not body:
        return
    if title:  # not the table's own title, which wraps at the table's width
        out.print(title, style="bold")
    grid = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = index > 0 and all(row[index][:1] in "0123456789+-–" or not row[index] for row in body)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        grid.add_row(*row)
    out.print(grid)
    out.print()


def anything(data: Data, out: Console) -> None:
    """Key and value, nested one level."""
    for key, value in data.items():
        if key in ("warnings", "error"):
            continue
        words = key.replace("_", " ")
        if isinstance(value, dict):
            out.print(f"{words}:")
            for name, item in value.items():
                out.print(f"  {name}: {cell(item)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            columns = list(value[0])
            table(out, words, columns, [[cell(row.get(column)) for column in columns] for row in value])
        else:
            out.print(f"{words}: {cell(value)}")


def cell(value: Any) -> str:
    """Any JSON value in one cell."""
    if value is None:
        return "unset"
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value) or "none"
    return num(value)
