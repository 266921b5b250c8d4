"""Rows from wherever they are: CSV, JSONL, Parquet, a ladder's folder, lists, columns, data frames."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forescale.base.errors import InputError

Row = dict[str, Any]


class Rows(NamedTuple):
    """Raw rows, the line of each where they came from a text file, and what to call the source."""

    rows: list[Row]
    lines: list[int | None]
    source: str


def read_rows(source: Any) -> Rows:
    """Rows of a path, a list of dicts, a dict of columns, or anything with `__arrow_c_stream__` or `to_dict`."""
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
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
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
            line=1,
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
                line=reader.line_num,
            )
        rows.append(dict(zip(names, cells, strict=False)))
        lines.append(reader.line_num)
    return Rows(rows, lines, str(path))


def _from_json(text: str, path: Path) -> Rows:
    if text.lstrip().startswith("["):
        values = _parse(text, path, None)
        if not all(isinstance(value, dict) for value in values):
            raise InputError(f"{path} is not a list of objects", file=path)
        return Rows([_record_row(value) for value in values], [None] * len(values), str(path))
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
            flat |= {f"{key}.{inner}": v for inner, v in item.items() if not isinstance(v, (dict, list))}
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
        remedy="give the table's own path, or a ladder's folder",
        file=folder,
    )
