"""The demo's text, without any download: the documentation that the set-up itself put on this machine.

Docstrings, READMEs, changelogs and licences of the standard library and of a fixed list of the pinned packages, found
by parsing; nothing is imported. The same Python and the same pins give the same text; the digest says so.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata as metadata
import json
import platform
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from forescale.base.errors import InputError
from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure, write_atomic
from forescale.base.records.corpus import DemoText
from forescale.corpus import docstrings
from forescale.corpus.sources import describe

STANDARD_LIBRARY = "python"
_NAMES = (
    "annotated-doc annotated-types anyio certifi click contourpy cycler filelock fonttools fsspec h11 hf-xet httpcore2 "
    "httpx2 huggingface-hub idna jinja2 kiwisolver llvmlite markdown-it-py markupsafe matplotlib mdurl mpmath narwhals "
    "networkx numba numpy packaging pillow plotly pyarrow pydantic pydantic-core pygments pyparsing python-dateutil "
    "pyyaml rich safetensors scipy shellingham sympy tokenizers torch tqdm typer typing-extensions typing-inspection "
    "zstandard"
)
PACKAGES = (STANDARD_LIBRARY, *_NAMES.split())
"""What the extras report, train and corpus install, all pinned by constraints.txt. pip and setuptools come with the
Python and differ from machine to machine: left out."""

HIDDEN = ".demo-text"
"""Folder of what only a rerun needs."""
SHORTEST = 80
"""Docstrings up to this many characters are names in other words (our choice)."""
_LEFT_OUT = frozenset({"tests", "test", "_tests", "testing", "site-packages", "lib2to3", "ensurepip", "__pycache__"})
_PROSE = re.compile(r"(?i)^(readme|changelog|changes|history|news|licen[cs]es?|notice|authors|contributing|copying)\b")
_PROSE_ENDINGS = frozenset({"", ".txt", ".md", ".rst", ".apache", ".bsd", ".psf", ".external", ".third-party"})
_CHUNK = 6 * 2**20
"""Bytes of source that one part parses (our choice)."""


@dataclass(frozen=True)
class ParsePart:
    """Some files of one package, and where their text goes."""

    package: str
    index: int
    root: Path
    files: tuple[str, ...]
    description: str
    out: Path

    @property
    def text(self) -> Path:
        """The part's documents."""
        return self.out / "text" / self.package / f"{self.index:03d}.parquet"

    @property
    def pairs(self) -> Path:
        """The part's question and answer pairs."""
        return self.out / HIDDEN / f"{self.package}-{self.index:03d}.jsonl"


def collect(out: Path, executor: Executor, packages: Sequence[str] = PACKAGES) -> DemoText:
    """Write `out/text/PACKAGE/*.parquet` (give `out/text` to `clean`) and `out/pairs.jsonl` (for `docstrings.pairs`).

    Packages that are not installed are named and left out. Called again, it parses only what is missing.
    """
    key, parts, missing = _plan(out, packages)
    summary_path, marker = out / HIDDEN / "summary.json", out / HIDDEN / "key"
    if summary_path.exists() and (out / "pairs.jsonl").exists() and all(part.text.exists() for part in parts):
        found = DemoText.read(summary_path)
        if found.key == key:
            return found
    if not marker.exists() or marker.read_text() != key:
        for stale in (*out.glob("text/*/[0-9]*.parquet"), *out.glob(f"{HIDDEN}/*")):
            stale.unlink()
        write_atomic(marker, key.encode())
    counts = results(executor.map(parse_part, parts, label="collect"))
    candidates = [
        json.loads(line) for part in parts for line in part.pairs.read_text(encoding="utf-8").splitlines() if line
    ]
    chosen = list(docstrings.select(candidates))
    write_atomic(out / "pairs.jsonl", "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in chosen).encode())
    digest = hashlib.sha256("".join(c.digest for c in counts).encode()).hexdigest()
    summary = DemoText(
        documents=sum(c.documents for c in counts),
        bytes=sum(c.bytes for c in counts),
        sha256=digest,
        pairs=len(chosen),
        sources=len({part.package for part in parts}),
        missing=missing,
        unreadable=sum(c.unreadable for c in counts),
        python=platform.python_version(),
        key=key,
    )
    summary.write(summary_path)
    return summary


def _plan(out: Path, packages: Sequence[str]) -> tuple[str, list[ParsePart], list[str]]:
    """A key of everything that is installed, the parts, and the packages that are not."""
    parts: list[ParsePart] = []
    missing, versions = [], [platform.python_version()]
    for package in packages:
        if package == STANDARD_LIBRARY:
            parts += _cut(STANDARD_LIBRARY, *_standard_library(), "", out)
            continue
        try:
            distribution = metadata.distribution(package)
            files = distribution.files or []
        except metadata.PackageNotFoundError:
            missing.append(package)
            continue
        versions.append(f"{package} {distribution.version.partition('+')[0]}")
        root = Path(str(distribution.locate_file("")))
        names = sorted({f.as_posix() for f in files if _wanted(Path(f.as_posix()))})
        described = cast(Message, distribution.metadata)
        description = str(described.get_payload() or described.get("Description") or "")
        parts += _cut(package, root, names, description, out)
    if not parts:
        raise InputError("no installed documentation was found", remedy="give a folder of text: --text DIR")
    return hashlib.sha256(json.dumps([list(packages), versions, 1]).encode()).hexdigest(), parts, missing


def _standard_library() -> tuple[Path, list[str]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    names = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
    return root, sorted(n.as_posix() for n in names if _wanted(n) and "site-packages" not in n.parts)


def _wanted(name: Path) -> bool:
    if name.is_absolute() or ".." in name.parts or not _LEFT_OUT.isdisjoint(name.parts):
        return False
    if name.suffix == ".py":
        return True
    return bool(_PROSE.match(name.name)) and name.suffix.lower() in _PROSE_ENDINGS


def _cut(package: str, root: Path, names: list[str], description: str, out: Path) -> Iterator[ParsePart]:
    """The package's files in order, in parts of about _CHUNK bytes."""
    chunk: list[str] = []
    filled = index = 0
    for name in names:
        path = root / name
        size = path.stat().st_size if path.is_file() else 0
        if chunk and filled + size > _CHUNK:
            yield ParsePart(package, index, root, tuple(chunk), description if index == 0 else "", out)
            chunk, filled, index = [], 0, index + 1
        chunk.append(name)
        filled += size
    if chunk or description:
        yield ParsePart(package, index, root, tuple(chunk), description if index == 0 else "", out)


@dataclass(frozen=True)
class _Counts:
    documents: int
    bytes: int
    unreadable: int
    digest: str


def parse_part(part: ParsePart) -> _Counts:
    """Write the part's documents, one a module or file, and its candidates for pairs; found finished, only count."""
    unreadable = 0
    if not (part.text.exists() and part.pairs.exists()):
        documents: list[tuple[str, str]] = []
        pairs: list[dict[str, Any]] = []
        if part.description.strip():
            documents.append((f"{part.package}/DESCRIPTION", part.description.strip()))
        for name in part.files:
            read = _read(part, name)
            if read is None:
                unreadable += 1
                continue
            text, found = read
            pairs += found
            if len(text) > SHORTEST:
                documents.append((f"{part.package}/{name}", text))
        try:
            part.text.parent.mkdir(parents=True, exist_ok=True)
            table = pa.table({"id": [d[0] for d in documents], "text": [d[1] for d in documents]}, schema=_SCHEMA)
            aside = part.text.with_name("." + part.text.name)
            pq.write_table(table, aside, compression="zstd")
        except OSError as error:
            raise disk_failure(error, part.text) from error
        write_atomic(part.pairs, "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in pairs).encode())
        aside.replace(part.text)
    rows = pq.read_table(part.text).to_pylist()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['id']}\0{row['text']}\0".encode())
    n_bytes = sum(len(row["text"].encode()) for row in rows)
    return _Counts(len(rows), n_bytes, unreadable, digest.hexdigest())


_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])


def _read(part: ParsePart, name: str) -> tuple[str, list[dict[str, Any]]] | None:
    """A file's prose and its pairs; None for what cannot be read as text or parsed (templates, other versions)."""
    try:
        content = (part.root / name).read_text(encoding="utf-8")
        if not name.endswith(".py"):
            return content.strip(), []
        if name == "pydoc_data/topics.py":
            return "\n\n".join(_long_strings(content)), []
        described = list(describe(content))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    text = "\n\n".join(d.docstring.strip() for d in described if len(d.docstring) > SHORTEST)
    text = text.encode("utf-8", "replace").decode()  # lone surrogates in string escapes
    return text, [p for d in described if (p := docstrings.pair(d, part.package)) is not None]


def _long_strings(content: str) -> list[str]:
    """The language reference that `help()` shows: the values of one dictionary."""
    nodes = ast.walk(ast.parse(content))
    values = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [value.strip() for value in values if len(value) > SHORTEST]
