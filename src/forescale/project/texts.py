"""Looking into a cleaned corpus, and deduplicating files outside a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.artifact import read_manifest
from forescale.base.errors import ArtifactError, ConfigError, InputError

if TYPE_CHECKING:
    from forescale.base.records.corpus import DedupSummary

PARTS = ("train", "validation", "removed")
LEVELS = ("document", "line")
SAMPLE_CHARACTERS = 400


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
    """Deduplicate Parquet and JSONL files into `out`; what stands there is kept unless `force`."""
    from forescale.corpus.dedup import dedup
    from forescale.launch.open import open_executor

    levels = [word.strip() for word in level.split(",") if word.strip()]
    unknown = [word for word in levels if word not in LEVELS]
    if unknown or not levels:
        raise ConfigError(f"--level {level} is not document, line, or both", key="level")
    if (out / "summary.json").exists() and not force:
        raise ConfigError(f"{out} holds an earlier result", remedy="name another --out, or --force", file=out)
    pool = open_executor(executor, workers=None, address=ray_address)
    return dedup(inputs, out, threshold=threshold, levels=levels, index=index, executor=pool)


def stats(corpus: Path) -> dict[str, Any]:
    """The corpus's own summary."""
    return {"corpus": str(corpus), **read_manifest(corpus).summary}


def sample(corpus: Path, *, n: int = 5, seed: int = 0) -> dict[str, Any]:
    """`n` training documents drawn by seed, each cut to its beginning."""
    import random

    read_manifest(corpus)
    total = sum(_rows(path) for path in _parts(corpus, "train"))
    wanted = set(random.Random(seed).sample(range(total), min(n, total)))
    documents = [
        {**document, "text": document["text"][:SAMPLE_CHARACTERS], "characters": len(document["text"])}
        for position, document in enumerate(_documents(corpus, "train"))
        if position in wanted
    ]
    return {"corpus": str(corpus), "documents": documents}


def why(corpus: Path, document: str) -> dict[str, Any]:
    """What became of the document with this id (or the end of its path)."""
    read_manifest(corpus)
    for part in PARTS:
        for row in _documents(corpus, part):
            if row["id"] == document or row["path"].endswith(document):
                text = row.pop("text")
                fate = "removed" if part == "removed" else "kept"
                return {"fate": fate, "part": part, **row, "characters": len(text), "text": text[:SAMPLE_CHARACTERS]}
    raise InputError(
        f"no document `{document}` in {corpus}",
        why="neither kept nor removed: it was never read, or could not be (see the corpus's summary)",
        remedy="forescale corpus sample shows ids",
        file=corpus,
    )


def diff(a: Path, b: Path) -> dict[str, Any]:
    """How two corpora differ: documents only in one, and counts by reason of removal."""
    first, second = _fates(a), _fates(b)
    moved = Counter(
        f"{first.get(key, 'absent')} -> {second.get(key, 'absent')}"
        for key in first.keys() | second.keys()
        if first.get(key) != second.get(key)
    )
    return {
        "a": {"corpus": str(a), **Counter(first.values())},
        "b": {"corpus": str(b), **Counter(second.values())},
        "same": sum(1 for key in first if first[key] == second.get(key)),
        "changed": dict(moved.most_common()),
    }


def _fates(corpus: Path) -> dict[str, str]:
    read_manifest(corpus)
    return {
        row["id"]: f"removed ({row['reason']})" if part == "removed" else part
        for part in PARTS
        for row in _documents(corpus, part, skip=("text",))
    }


def _parts(corpus: Path, part: str) -> list[Path]:
    return sorted((corpus / part).glob("*.parquet"))


def _rows(path: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)


def _documents(corpus: Path, part: str, skip: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Rows of one part, batch by batch: a corpus need not fit into memory."""
    import pyarrow
    import pyarrow.parquet

    for path in _parts(corpus, part):
        try:
            file = pyarrow.parquet.ParquetFile(path)
            names = [name for name in file.schema_arrow.names if name not in skip]
            for batch in file.iter_batches(batch_size=4096, columns=names):
                yield from batch.to_pylist()
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise ArtifactError(
                f"{path} cannot be read: {str(error).splitlines()[0]}",
                remedy="forescale show corpus --verify; forescale clean --force makes it again",
                file=path,
            ) from error
