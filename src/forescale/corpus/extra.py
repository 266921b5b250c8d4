"""The other columns of Parquet and JSONL inputs (licence, language, url ...), carried to what `dedup` keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forescale.corpus.read import InputFile, bounded_lines, opened

OURS = frozenset({"id", "text", "dump"})


def add_columns(kept: pa.Table, paths: Sequence[str], files: Sequence[InputFile]) -> pa.Table:
    """`kept` with the other columns of its rows; `paths` says `FILE:ROW` of each.

    Columns that only some files have are null elsewhere; a column whose type differs between files becomes text.
    """
    by_name = {file.name: file for file in files}
    wanted: dict[str, list[int]] = {}
    for path in paths:  # a part's rows come file after file, in order
        name, _, row = path.rpartition(":")
        wanted.setdefault(name, []).append(int(row))
    tables = [_others(by_name[name], rows) for name, rows in wanted.items()]
    columns: dict[str, list[pa.Array | None]] = {}
    for place, table in enumerate(tables):
        for name in table.column_names:
            columns.setdefault(name, [None] * len(tables))[place] = table[name].combine_chunks()
    sizes = [len(rows) for rows in wanted.values()]
    for name, pieces in columns.items():
        kept = kept.append_column(name, _joined(pieces, sizes))
    return kept


def _joined(pieces: Sequence[pa.Array | None], sizes: Sequence[int]) -> pa.ChunkedArray:
    types = {piece.type for piece in pieces if piece is not None and not pa.types.is_null(piece.type)}
    kind = types.pop() if len(types) == 1 else pa.string()
    arrays = []
    for piece, size in zip(pieces, sizes, strict=True):
        if piece is None:
            arrays.append(pa.nulls(size, kind))
        elif piece.type == kind:
            arrays.append(piece)
        else:
            values = [
                None if v is None else v if isinstance(v, str) else json.dumps(v, default=str)
                for v in piece.to_pylist()
            ]
            arrays.append(pa.array(values, type=pa.string()).cast(kind))
    return pa.chunked_array(arrays, type=kind)


def _others(file: InputFile, rows: list[int]) -> pa.Table:
    """All columns but ours of these rows (1-based, ascending)."""
    if file.kind == ".jsonl":
        return _json_columns(file, set(rows))
    with opened(file.path) as stream:
        source: Any = stream if file.path.suffix.lower() == ".parquet" else pa.BufferReader(stream.read())
        stored = pq.ParquetFile(source)
        names = [name for name in stored.schema_arrow.names if name not in OURS]
        return stored.read(columns=names).take(pa.array([row - 1 for row in rows]))


def _json_columns(file: InputFile, rows: set[int]) -> pa.Table:
    values = []
    with opened(file.path) as stream:
        for number, line in bounded_lines(stream):
            if number in rows and isinstance(line, bytes):
                values.append(json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")))
    names = dict.fromkeys(name for value in values for name in value if name not in OURS)
    return pa.table({name: _array([value.get(name) for value in values]) for name in names})


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # values of several types under one name
        return pa.array([None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values])
