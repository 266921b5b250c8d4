"""Rows from wherever they are: CSV, JSONL, Parquet, a ladder's folder, lists, columns, data frames."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forescale.base.errors import InputError

Row = dict[str, Any]
COMMA = re.compile(r"-?(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+)(?:[eE][-+]?\d+)?|-?\d{1,3}(?:\.\d{3})+,\d+")
"""A decimal comma beyond doubt; 1,500 may be thousands."""
POINT = re.compile(r"-?(?:\d+\.(?:\d{1,2}|\d{4,})|0\.\d+|\d{4,}\.\d*|\d{1,3}(?:,\d{3})+\.\d+)(?:[eE][-+]?\d+)?")
"""A decimal point beyond doubt; 1.500 may be thousands."""
EUROPEAN = re.compile(r"-?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?(?:[eE][-+]?\d+)?\s*[KMBTkmbt]?")


class Rows(NamedTuple):
    """Raw rows, the line of each where they came from a text file, and what to call the source."""

    rows: list[Row]
    lines: list[int | None]
    source: str
    notes: tuple[str, ...] = ()
    """What was made of the text on the way, for its reader to know."""


def read_rows(source: Any) -> Rows:
    """Rows of a path, a list of dicts, a dict of columns, or anything with `__arrow_c_stream__` or `to_dict`."""
    if isinstance(source, Rows):
        return source
    if isinstance(source, (str, Path)):
        return _from_path(Path(source))
    if isinstance(source, Mapping):
        return _from_columns(source, "a dict of columns")
    if isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        return Rows([dict(row) for row in source], [None] * len(source), "a list of dicts")
    if isinstance(source, Sequence) and all(hasattr(row, "row") for row in source):  # RunRecords
        return Rows([row.row() for row in source], [None] * len(source), "run records")
    if hasattr(source, "__arrow_c_stream__"):
        import pyarrow

        return _from_columns(pyarrow.table(source).to_pydict(), "a data frame")
    if hasattr(source, "to_dict"):
        try:
            columns = source.to_dict("list")
        except (TypeError, ValueError):
            columns = source.to_dict()
        return _from_columns(columns, "a data frame")
    raise InputError(
        f"a table of runs cannot be a {type(source).__name__}",
        remedy="give a path, a list of dicts, a dict of columns, or a data frame",
    )


def _from_columns(columns: Mapping[str, Any], source: str) -> Rows:
    lists = {str(name): list(values) for name, values in columns.items()}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) > 1:
        raise InputError("the columns differ in length", why=str({n: len(v) for n, v in lists.items()}))
    count = lengths.pop() if lengths else 0
    return Rows([{n: v[i] for n, v in lists.items()} for i in range(count)], [None] * count, source)


def _from_path(path: Path) -> Rows:
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise InputError(f"there is no table of runs at {path}", remedy="check the path", file=path)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return _from_parquet(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text", why=str(error), remedy="export it as UTF-8 CSV", file=path
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", file=path) from None
    if suffix in (".jsonl", ".ndjson") or (suffix != ".csv" and text.lstrip()[:1] in "{[" and text.strip()):
        return _from_json(text, path)
    return _from_csv(text, path)


def _from_csv(text: str, path: Path) -> Rows:
    skipped = 0  # comments before the header
    while text.startswith("#") and "\n" in text:
        text, skipped = text.partition("\n")[2], skipped + 1
    first = text.partition("\n")[0]
    delimiter = max(",\t;|", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = next(reader, None)
    if not header:
        raise InputError(f"{path} is empty", remedy="the first line names the columns", file=path)
    names = [name.strip() for name in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"two columns are named `{twice}`",
            why="which of them is meant cannot be told",
            remedy="rename one of them",
            file=path,
            line=1 + skipped,
        )
    rows: list[Row] = []
    lines: list[int | None] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(names):
            raise InputError(
                f"a row has {len(cells)} cells under {len(names)} column names",
                why="a value with a comma in it (a decimal comma, thousands) must stand in quotes",
                remedy="quote it, or separate the columns by tabs or semicolons",
                file=path,
                line=reader.line_num + skipped,
            )
        rows.append(dict(zip(names, cells, strict=False)))
        lines.append(reader.line_num + skipped)
    if decimal_commas(rows):
        rows = [{name: with_points(cell) for name, cell in row.items()} for row in rows]
        return Rows(rows, lines, str(path), ("numbers are written with decimal commas (3,14) and read as such",))
    return Rows(rows, lines, str(path))


def decimal_commas(rows: Sequence[Row]) -> bool:
    """Whether a table writes 3,14 for 3.14: some cell can be nothing else, and none has a decimal point."""
    cells = [cell.strip() for row in rows for cell in row.values() if cell]
    return any(COMMA.fullmatch(cell) for cell in cells) and not any(POINT.fullmatch(cell) for cell in cells)


def with_points(cell: str) -> str:
    """A cell of such a table as the rest of the world writes it; words and dates as they stand.

    >>> with_points("3,14"), with_points("1.234.567"), with_points("1.234,5"), with_points("a, b")
    ('3.14', '1234567', '1234.5', 'a, b')
    """
    text = cell.strip()
    return text.replace(".", "").replace(",", ".") if EUROPEAN.fullmatch(text) else cell


def _from_json(text: str, path: Path) -> Rows:
    whole = _whole(text)
    if whole is None and text.lstrip().startswith("["):
        whole = _parse(text, path, None)
    if isinstance(whole, dict):
        columns = _columns_of(whole)
        if columns is not None:
            return _from_columns(columns, str(path))
        lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        whole = lists[0] if len(lists) == 1 else [whole]
    if isinstance(whole, list):
        if not all(isinstance(value, dict) for value in whole):
            raise InputError(f"{path} is not a list of objects", file=path)
        return Rows([_record_row(value) for value in whole], [None] * len(whole), str(path))
    rows: list[Row] = []
    lines: list[int | None] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        value = _parse(line, path, number)
        if not isinstance(value, dict):
            raise InputError("a line is not a JSON object", file=path, line=number)
        rows.append(_record_row(value))
        lines.append(number)
    return Rows(rows, lines, str(path))


def _whole(text: str) -> Any:
    """The text as one JSON value; None where it is several (a line each), or none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _columns_of(value: Row) -> Row | None:
    """A JSON object that holds columns: name -> list, or name -> {row: value} as pandas writes them."""
    items = list(value.values())
    if len(items) > 1 and all(isinstance(item, list) and not any(isinstance(v, dict) for v in item) for item in items):
        return value
    keys = [tuple(item) for item in items if isinstance(item, dict)]
    if len(items) > 1 and len(keys) == len(items) and len(set(keys)) == 1 and all(k.isdigit() for k in keys[0]):
        return {name: list(item.values()) for name, item in value.items()}
    return None


def _parse(text: str, path: Path, line: int | None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", file=path, line=line or error.lineno) from None


def _record_row(value: Row) -> Row:
    """A RunRecord's JSON becomes its row; nested dicts (W&B config, summary) are flattened by dots."""
    if {"run", "shape", "validation", "learning_rate"} <= value.keys():
        from forescale.base.records.run import RunRecord

        return RunRecord.model_validate(value).row()
    flat: Row = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= {f"{key}.{inner}": v for inner, v in _record_row(item).items()}
        elif not isinstance(item, list):
            flat[key] = item
    return flat


def _from_parquet(path: Path) -> Rows:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file", why=str(error).splitlines()[0], file=path) from None
    return _from_columns(table.to_pydict(), str(path))


def _from_folder(folder: Path) -> Rows:
    """A ladder's folder: its runs.csv, or else the records of its runs."""
    for name in ("runs.csv", "runs.jsonl", "runs.parquet"):
        if (folder / name).exists():
            return _from_path(folder / name)
    records = sorted(folder.rglob("record.json"))
    if records:
        parts = [_from_json(path.read_text(encoding="utf-8"), path) for path in records]
        rows = [row for part in parts for row in part.rows]
        return Rows(rows, [None] * len(rows), str(folder))
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".jsonl", ".parquet"))
    if len(tables) == 1:
        return _from_path(tables[0])
    raise InputError(
        f"no table of runs in {folder}",
        why="it has no runs.csv and no record.json" + (f", but several tables: {len(tables)}" if tables else ""),
        remedy="name the tables one by one: " + " ".join(str(p) for p in tables[:4]) + (" ..." if tables[4:] else "")
        if tables
        else "give the table's own path, or a ladder's folder",
        file=folder,
    )
