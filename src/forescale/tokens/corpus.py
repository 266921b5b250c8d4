"""Reads a Corpus folder: its Parquet parts, one text at a time, in an order that never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forescale.base.config import TokenizerSection
from forescale.base.errors import ArtifactError, InputError
from forescale.tokens.tokenizer import train_tokenizer

SPLITS = ("train", "validation")


def parts(corpus: Path, split: str) -> list[Path]:
    """The Parquet parts of a split, by name."""
    return sorted((corpus / split).glob("*.parquet"))


def texts(part: Path) -> Iterator[str]:
    """The texts of one part, in its order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=256, columns=["text"]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise ArtifactError(
            f"{part} cannot be read: {error}",
            why="the corpus is damaged",
            remedy="forescale clean --force makes it again",
            file=part,
        ) from None


def sample_texts(corpus: Path, n_bytes: int) -> Iterator[str]:
    """About `n_bytes` of training texts spread evenly over the corpus; all of them when it holds no more.

    A text is taken by the hash of its content, so the choice hangs on nothing but the texts.
    """
    files = parts(corpus, "train")
    total = sum(_text_bytes(file) for file in files)
    share = min(1.0, 1.05 * n_bytes / total) if total else 0.0
    limit = int(share * 2**64)
    for file in files:
        for text in texts(file):
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
            if share >= 1.0 or int.from_bytes(digest, "little") < limit:
                yield text


def train_on_corpus(corpus: Path, section: TokenizerSection, out: Path) -> None:
    """Learn the recipe's tokenizer from the corpus' training split."""
    if not parts(corpus, "train"):
        raise InputError(f"{corpus} holds no training text", remedy="forescale clean makes it", file=corpus / "train")
    train_tokenizer(sample_texts(corpus, section.train_bytes), section.vocab_size, out, train_bytes=section.train_bytes)


def _text_bytes(part: Path) -> int:
    """Bytes of the text column before compression, from the footer alone."""
    import pyarrow.parquet as pq

    try:
        footer: Any = pq.read_metadata(part)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{part} cannot be read: {error}", remedy="forescale clean --force makes it again", file=part
        ) from None
    size = 0
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        for column in range(row_group.num_columns):
            if row_group.column(column).path_in_schema == "text":
                size += row_group.column(column).total_uncompressed_size
    return size
