"""Corpus to TokenShards: parts through the executor, one file a split; the same bytes for any number of workers."""

from __future__ import annotations

import hashlib
import io
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure, sha256_file, write_atomic
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.tokens.corpus import SPLITS, parts, texts
from forescale.tokens.entropy import entropies
from forescale.tokens.tokenizer import Tokenizer

IntArray = npt.NDArray[np.int64]
MAGIC = b"forescale-part-1"


@dataclass(frozen=True)
class Part:
    """One Parquet file to encode, and where its ids go."""

    source: str
    tokenizer_dir: str
    out: str
    key: str
    """What the ids depend on: tokenizer and source. A finished part of another key is made again."""


def encode_corpus(
    corpus: Path, tokenizer_dir: Path, out: Path, executor: Executor, *, sets: Sequence[str] = ()
) -> TokensSummary:
    """Write the TokenShards of `corpus` to `out`. Killed and started again, it does only the missing parts.

    `sets`: names of the validation split's files, where each is a set of its own.
    """
    tokenizer = Tokenizer.open(tokenizer_dir)
    dtype = id_dtype(tokenizer.vocab_size)
    work = out / ".parts"
    todo: list[Part] = []
    for split in SPLITS:
        found = parts(corpus, split)
        if not found:
            raise InputError(f"the corpus has no {split} text", remedy="forescale clean makes it", file=corpus / split)
        todo += [
            Part(str(file), str(tokenizer_dir), str(work / f"{split}-{file.stem}.part"), _key(tokenizer, file))
            for file in found
        ]
    missing = [part for part in todo if not _is_finished(part)]
    results(executor.map(encode_part, missing, label="tokenize"))
    counts = {
        split: _join(split, [p for p in todo if Path(p.out).name.startswith(f"{split}-")], out, dtype)
        for split in SPLITS
    }
    _write_npy(out / "token_bytes.npy", tokenizer.token_bytes)
    summary = _summary(out, tokenizer, dtype, counts)
    if sets:
        files = [Path(p.out) for p in todo if Path(p.out).name.startswith("validation-")]
        lengths = {name: _n_tokens(file) for name, file in zip(sets, files, strict=True)}
        summary = summary.model_copy(update={"validation_sets": lengths})
    summary.write(out / "summary.json")
    shutil.rmtree(work, ignore_errors=True)
    return summary


def id_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Two bytes an id where they suffice, else four; little-endian on every machine."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def encode_part(part: Part) -> int:
    """Encode one Parquet file; gives its number of tokens.

    The file: magic, key, number of documents and tokens, then ends (of documents, in tokens), bytes, ids.
    """
    tokenizer = Tokenizer.open(part.tokenizer_dir)
    dtype = id_dtype(tokenizer.vocab_size)
    chunks, ends, sizes, total = [], [], [], 0
    for text in texts(Path(part.source)):
        ids = tokenizer.encode(text)
        ids.append(tokenizer.eos_id)
        chunks.append(np.array(ids, dtype=dtype))
        total += len(ids)
        ends.append(total)
        sizes.append(len(text.encode()))
    head = np.array([len(ends), total], dtype="<i8").tobytes()
    body = b"".join(
        [np.array(ends, dtype="<i8").tobytes(), np.array(sizes, dtype="<i8").tobytes(), *(c.tobytes() for c in chunks)]
    )
    write_atomic(Path(part.out), MAGIC + part.key.encode() + head + body)
    return total


def _key(tokenizer: Tokenizer, source: Path) -> str:
    state = source.stat()
    return hashlib.sha256(f"{tokenizer.hash}:{source.name}:{state.st_size}:{state.st_mtime_ns}".encode()).hexdigest()


def _is_finished(part: Part) -> bool:
    path = Path(part.out)
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC) + len(part.key)) == MAGIC + part.key.encode()


def _n_tokens(part: Path) -> int:
    """Tokens of a finished part."""
    with part.open("rb") as file:
        head = file.read(len(MAGIC) + 64 + 16)[-16:]
    return int(np.frombuffer(head, dtype="<i8")[1])


def _join(split: str, done: list[Part], out: Path, dtype: np.dtype[np.unsignedinteger]) -> SplitCount:
    """Lay the parts end to end: `S.bin`, `S.ends.npy`, `S.bytes.npy`."""
    ends, sizes, total = [], [], 0
    aside = out / f".{split}.bin.tmp"
    try:
        with aside.open("wb") as joined:
            for part in done:
                data = np.memmap(part.out, dtype=np.uint8, mode="r")
                start = len(MAGIC) + len(part.key)
                n_documents, n_tokens = data[start : start + 16].view("<i8").tolist()
                start += 16
                ends.append(data[start : start + 8 * n_documents].view("<i8") + total)
                sizes.append(np.array(data[start + 8 * n_documents : start + 16 * n_documents].view("<i8")))
                joined.write(data[start + 16 * n_documents :].tobytes())
                total += n_tokens
        aside.replace(out / f"{split}.bin")
    except OSError as error:
        raise disk_failure(error, out / f"{split}.bin") from error
    every_end, every_size = np.concatenate(ends), np.concatenate(sizes)
    _write_npy(out / f"{split}.ends.npy", every_end)
    _write_npy(out / f"{split}.bytes.npy", every_size)
    assert total * dtype.itemsize == (out / f"{split}.bin").stat().st_size
    return SplitCount(documents=len(every_end), tokens=total, bytes=int(every_size.sum()))


def _write_npy(path: Path, array: npt.NDArray[np.int64]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array.astype("<i8"))
    write_atomic(path, buffer.getvalue())


def _summary(
    out: Path, tokenizer: Tokenizer, dtype: np.dtype[np.unsignedinteger], counts: dict[str, SplitCount]
) -> TokensSummary:
    empty = np.zeros(0, dtype)
    ids = {s: np.memmap(out / f"{s}.bin", dtype=dtype, mode="r") if counts[s].tokens else empty for s in SPLITS}
    tables = entropies(ids["train"], ids["validation"], tokenizer.vocab_size)
    targets = len(ids["validation"]) - 1
    bytes_of_targets = int(tokenizer.token_bytes[ids["validation"][1:]].sum())
    per_byte = targets / (bytes_of_targets * math.log(2)) if bytes_of_targets else math.nan
    return TokensSummary(
        vocab_size=tokenizer.vocab_size,
        dtype=dtype.name,
        eos_id=tokenizer.eos_id,
        train=counts["train"],
        validation=counts["validation"],
        unigram_nats=tables.unigram,
        bigram_nats=tables.bigram,
        unigram_bpb=tables.unigram * per_byte,
        bigram_bpb=tables.bigram * per_byte,
        tokenizer=tokenizer.hash,
        validation_id=sha256_file(out / "validation.bin")[:16],
    )
