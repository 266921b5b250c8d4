"""Deduplicating files outside a workspace, and looking into a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.errors import ConfigError

if TYPE_CHECKING:
    from forescale.base.records.corpus import CorpusSummary, DedupSummary

LEVELS = ("document", "line")


def dedup_verb(
    inputs: Sequence[Path],
    *,
    out: Path,
    index: Path | None = None,
    threshold: float = 0.8,
    level: str = "document",
    executor: str = "local",
    ray_address: str | None = None,
    force: bool = False,
) -> DedupSummary:
    """Deduplicate Parquet and JSONL files into `out`; with `force` an earlier result is set aside first."""
    from forescale.corpus.dedup import dedup
    from forescale.launch import open_executor

    levels = [word.strip() for word in level.split(",") if word.strip()]
    if not levels or set(levels) - set(LEVELS):
        raise ConfigError(f"--level {level} is not document, line, or both", key="level")
    if force and out.exists():
        out.rename(_free(out))
    pool = open_executor(executor, address=ray_address, folder=out.with_name(out.name + ".jobs"))
    return dedup(inputs, out, executor=pool, threshold=threshold, level=levels, index=index)


def stats(corpus: Path) -> CorpusSummary:
    """What cleaning counted."""
    from forescale.corpus import inspect

    return inspect.stats(corpus)


def sample(corpus: Path, *, n: int = 5, seed: int = 0) -> dict[str, Any]:
    """`n` training documents drawn by seed."""
    from forescale.corpus import inspect

    return {"corpus": str(corpus), "documents": inspect.sample(corpus, n, seed)}


def why(corpus: Path, document: str) -> dict[str, Any]:
    """What became of the document with this id."""
    from forescale.corpus import inspect

    return {"id": document, "found": inspect.why(corpus, document)}


def diff(a: Path, b: Path) -> dict[str, Any]:
    """How two corpora differ."""
    from forescale.corpus import inspect

    return {"a": str(a), "b": str(b), **inspect.diff(a, b)}


def _free(path: Path) -> Path:
    """A name beside `path` that nothing has yet."""
    candidate, n = path.with_name(path.name + ".old"), 1
    while candidate.exists():
        n += 1
        candidate = path.with_name(f"{path.name}.old-{n}")
    return candidate
