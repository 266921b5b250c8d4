"""Files in, rows out: txt, md, rst, py, html, jsonl, parquet, also as .gz and .zst, in a fixed order.

What cannot be read never stops the rest: it is set aside with file, line and reason. Of a file with one text the
whole file is set aside; of a file with rows (jsonl, parquet) only the rows that cannot be read.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from forescale.base.errors import InputError, MissingExtraError
from forescale.base.records.corpus import Quarantined
from forescale.corpus.html import text_of_html

TEXT_KINDS = frozenset({".txt", ".md", ".rst", ".py", ".html", ".htm"})
ROW_KINDS = frozenset({".jsonl", ".ndjson", ".parquet"})
COMPRESSED = frozenset({".gz", ".zst"})
MAX_TEXT = 256 * 2**20
"""Bytes of a file with one text, unpacked; a larger one belongs into jsonl or several files (our choice)."""
MAX_LINE = 16 * 2**20
"""Bytes of one line: longer ones are dumps, not text, and would cost memory in every later stage (our choice)."""
MAX_CHARACTERS = 200_000
"""A longer document is cut at paragraph ends into parts `ID~2`, `ID~3` (our choice)."""


@dataclass(frozen=True)
class InputFile:
    """A file to read: where it is, its name in ids and reports, the source it belongs to."""

    path: Path
    name: str
    source: str
    kind: str
    """Its ending without compression."""


@dataclass(frozen=True)
class Row:
    """One text as it was read."""

    id: str
    text: str
    source: str
    path: str
    dump: str
    line: int = 0
    """Row of its file, 0 for a file with one text."""


@dataclass
class Found:
    """What lies under the inputs."""

    files: list[InputFile] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    """Files of types that are not read, by ending."""


def find_files(inputs: Sequence[Path], kinds: frozenset[str] = TEXT_KINDS | ROW_KINDS) -> Found:
    """Every readable file under the inputs, by name; exit 3 when an input is missing or there is none.

    A source is the first folder below the input, or the file where there is none.
    """
    found = Found()
    names = _input_names(inputs)
    for path, prefix in zip(inputs, names, strict=True):
        if path.is_dir():
            for file in _walk(path):
                relative = file.relative_to(path)
                source = relative.parts[0]
                _add(found, file, f"{prefix}{relative.as_posix()}", f"{prefix}{source}", kinds)
        elif path.exists():
            _add(found, path, f"{prefix}{path.name}", f"{prefix}{path.name}", kinds)
        else:
            raise InputError(f"there is no {path}", remedy="give a folder or a file that exists", file=path)
    if not found.files:
        where = ", ".join(str(path) for path in inputs) or "no input"
        other = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in found.other.most_common(5))
        raise InputError(
            f"no text in {where}",
            why=f"only other types of files are there: {other}" if other else "there are no files there",
            remedy=f"give files that end in {' '.join(sorted(kinds))} (also .gz, .zst)",
            file=inputs[0] if inputs else None,
        )
    found.files.sort(key=lambda f: f.name)
    return found


def _input_names(inputs: Sequence[Path]) -> list[str]:
    """What distinguishes inputs in names: nothing for a single one or for files of different names."""
    if len(inputs) < 2:
        return [""] * len(inputs)
    names = [path.resolve().name for path in inputs]
    twice = {name for name, n in Counter(names).items() if n > 1}
    parts = [f"{i + 1}-{name}" if name in twice else name for i, name in enumerate(names)]
    return [
        f"{part}/" if path.is_dir() or name in twice else ""
        for path, name, part in zip(inputs, names, parts, strict=True)
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below, hidden ones and caches left out; links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        yield from (Path(root) / name for name in files if not name.startswith("."))


def _add(found: Found, path: Path, name: str, source: str, kinds: frozenset[str]) -> None:
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in COMPRESSED:
        endings.pop()
    kind = endings[-1] if endings else ""
    if kind in kinds:
        found.files.append(InputFile(path, name, source, ".jsonl" if kind == ".ndjson" else kind))
    else:
        found.other[kind] += 1


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A byte stream of the file, unpacked."""
    ending = path.suffix.lower()
    if ending == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise MissingExtraError.of("corpus", "reading .zst files") from error
        with path.open("rb") as raw:
            yield io.BufferedReader(_Zstd(raw, zstandard), 2**20)
    elif ending == ".gz":
        with gzip.open(path, "rb") as unpacked:
            yield cast(IO[bytes], unpacked)
    else:
        with path.open("rb") as plain:
            yield plain


class _Zstd(io.RawIOBase):
    """Frames of a zstd file as one stream; its own reader takes a truncated file for a whole one."""

    def __init__(self, raw: IO[bytes], zstandard: Any) -> None:
        self._raw, self._zstandard = raw, zstandard
        self._frame: Any = None
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            packed = self._raw.read(2**17)
            if not packed:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._left = self._unpack(packed)
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def _unpack(self, packed: bytes) -> bytes:
        pieces = []
        while packed:
            if self._frame is None:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                pieces.append(self._frame.decompress(packed))
            except self._zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            packed = b""
            if self._frame.eof:
                packed, self._frame = self._frame.unused_data, None
        return b"".join(pieces)


def read_rows(file: InputFile) -> Iterator[Row | Quarantined]:
    """The file's texts in order, and what could not be read."""
    reader = {".jsonl": _read_jsonl, ".parquet": _read_parquet}.get(file.kind, _read_text)
    try:
        yield from reader(file)
    except EOFError:
        yield Quarantined(
            file=file.name, reason="truncated: the compressed data ends too early", bytes=_size(file.path)
        )
    except (OSError, zlib.error) as error:
        reason = f"unreadable: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
        yield Quarantined(file=file.name, reason=reason, bytes=_size(file.path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_text(file: InputFile) -> Iterator[Row | Quarantined]:
    with opened(file.path) as stream:
        data = stream.read(MAX_TEXT + 1)
    flaw = _flaw(data)
    if flaw is not None:
        yield Quarantined(file=file.name, line=flaw[1], reason=flaw[0], bytes=_size(file.path))
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"invalid UTF-8 at byte {error.start}"
        yield Quarantined(file=file.name, line=line, reason=reason, bytes=_size(file.path))
        return
    if file.kind in (".html", ".htm"):
        text = text_of_html(text)
    yield Row(file.name, text, file.source, file.name, file.name)


def _flaw(data: bytes) -> tuple[str, int | None] | None:
    if len(data) > MAX_TEXT:
        return f"larger than {MAX_TEXT >> 20} MiB in one text: cut it into files or jsonl rows", None
    if b"\0" in data[:65536]:
        return "binary: it holds zero bytes", None
    start, line = 0, 1
    while len(data) - start > MAX_LINE:  # only then can a line be too long
        end = data.find(b"\n", start, start + MAX_LINE + 1)
        if end < 0:
            return f"a line of more than {MAX_LINE >> 20} MiB", line
        end = data.rfind(b"\n", start, start + MAX_LINE + 1)
        line += data.count(b"\n", start, end + 1)
        start = end + 1
    return None


def bounded_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | int]]:
    """Line number and the line, or its size where it is longer than MAX_LINE (it is skipped, not kept)."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line
            continue
        size = len(line)
        while not line.endswith(b"\n") and (line := stream.readline(2**20)):
            size += len(line)
        yield number, size


def _read_jsonl(file: InputFile) -> Iterator[Row | Quarantined]:
    with opened(file.path) as stream:
        for number, line in bounded_lines(stream):
            if isinstance(line, int):
                reason = f"a line of more than {MAX_LINE >> 20} MiB"
                yield Quarantined(file=file.name, line=number, reason=reason, bytes=line)
            elif line.strip():
                row = _parse_line(line, file, number)
                yield (
                    row
                    if isinstance(row, Row)
                    else Quarantined(file=file.name, line=number, reason=row, bytes=len(line))
                )


def _parse_line(line: bytes, file: InputFile, number: int) -> Row | str:
    try:
        value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 at byte {error.start} of the line"
    except (ValueError, RecursionError):
        return "not a JSON object"
    if not isinstance(value, dict):
        return "not a JSON object"
    return _row(value, file, number)


def _row(value: dict[str, Any], file: InputFile, number: int) -> Row | str:
    text, given, dump = value.get("text"), value.get("id"), value.get("dump")
    if not isinstance(text, str):
        return "no `text`"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell half a character, UTF-8 cannot
        return "invalid UTF-8: lone surrogates"
    identity = f"{file.name}:{number}" if given is None else str(given)
    return Row(identity, text, file.source, f"{file.name}:{number}", file.name if dump is None else str(dump), number)


def _read_parquet(file: InputFile) -> Iterator[Row | Quarantined]:
    import pyarrow
    import pyarrow.parquet as pq

    number = 0
    try:
        with opened(file.path) as stream:
            source: Any = stream if file.path.suffix.lower() == ".parquet" else io.BytesIO(stream.read())
            table = pq.ParquetFile(source)
            names = [name for name in ("text", "id", "dump") if name in table.schema_arrow.names]
            if "text" not in names:
                yield Quarantined(file=file.name, reason="no column `text`", bytes=_size(file.path))
                return
            for batch in table.iter_batches(batch_size=1024, columns=names):
                for value in _values(batch):
                    number += 1
                    row = _row(value, file, number) if isinstance(value, dict) else value
                    yield row if isinstance(row, Row) else Quarantined(file=file.name, line=number, reason=row)
    except (pyarrow.ArrowException, ValueError) as error:
        reason = f"not readable as Parquet: {str(error).splitlines()[0]}"
        yield Quarantined(file=file.name, line=number + 1 if number else None, reason=reason, bytes=_size(file.path))


def _values(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check its strings: row by row, only the damaged ones are lost
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield "invalid UTF-8"


def cut(row: Row, limit: int = MAX_CHARACTERS) -> Iterator[Row]:
    """The row itself, or its parts of at most `limit` characters, cut at the last paragraph, line or word end."""
    text, part = row.text, 1
    while len(text) > limit:
        for mark in ("\n\n", "\n", " "):
            place = text.rfind(mark, limit // 2, limit)
            if place > 0:
                end = place + len(mark)
                break
        else:
            end = limit
        yield _part(row, text[:end], part)
        text, part = text[end:], part + 1
    if text or part == 1:
        yield _part(row, text, part)


def _part(row: Row, text: str, part: int) -> Row:
    identity = row.id if part == 1 else f"{row.id}~{part}"
    return Row(identity, text, row.source, row.path, row.dump, row.line)
