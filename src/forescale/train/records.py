"""What a run leaves in its folder beside checkpoints: its spec, and a record for each branch as soon as it ended."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from forescale.base.errors import ArtifactError
from forescale.base.files import write_atomic
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.base.records.tokens import TokensSummary

_DECIDING = {
    "shape", "learning_rate", "batch_tokens", "warmup_steps", "schedule", "beta1", "beta2", "weight_decay", "clip",
    "init_std", "seed", "validation_tokens", "attend_across_documents",
}  # fmt: skip
"""Fields of a spec that decide a run's numbers. Not the branches (a run may be extended), nor how it is laid out."""


def fingerprint(spec: RunSpec, tokens: TokensSummary) -> str:
    """Hash of everything that decides the trajectory of a run: the spec's deciding fields, and its tokens."""
    deciding = spec.model_dump(mode="json", include=_DECIDING)
    text = json.dumps([deciding, tokens.tokenizer, tokens.validation_id, tokens.train.tokens], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_spec(spec: RunSpec, digest: str) -> None:
    """Leave the spec in the run's folder; a folder that holds another run is refused."""
    path = Path(spec.out_dir) / "spec.json"
    mark = path.with_name(".fingerprint")
    if mark.exists() and mark.read_text() != digest:
        raise another_run(path.parent, path)
    write_atomic(mark, digest.encode())
    spec.write(path)


def check_tokenizer(spec: RunSpec) -> None:
    """A run that will write weights needs its tokenizer at the end: better to know before the first step."""
    path = Path(spec.tokenizer_dir) / "tokenizer.json"
    if spec.save_weights and not path.exists():
        raise ArtifactError(f"{path} is missing", remedy="forescale tokenize makes it", file=path)


def read_records(spec: RunSpec) -> list[RunRecord]:
    """The records of this spec's first branches, as far as they have ended.

    A diverged run ends with as many records as it was asked for, and is not tried again.
    """
    path = Path(spec.out_dir) / "record.json"
    if not path.exists():
        return []
    try:
        records = TypeAdapter(list[RunRecord]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtifactError(
            f"{path} is not a list of run records: {error.errors()[0]['msg']}",
            remedy="remove the file: the run goes on from its last checkpoint",
            file=path,
        ) from None
    if any(record.status == "diverged" for record in records):
        return records[: len(spec.branches)] if len(records) >= len(spec.branches) else []
    ended = []
    for tokens, record in zip(spec.branches, records, strict=False):
        if record.tokens != tokens:
            break
        ended.append(record)
    return ended


def write_records(spec: RunSpec, records: list[RunRecord]) -> None:
    """Put the list of records on the disk, whole or not at all."""
    text = json.dumps([record.to_json() for record in records], indent=1)
    write_atomic(Path(spec.out_dir) / "record.json", text.encode() + b"\n")


def another_run(folder: Path, file: Path) -> ArtifactError:
    """The error of a folder that holds something else than what is asked."""
    return ArtifactError(
        f"{folder} holds another run",
        why="its shape, rate, batch, schedule, seed or tokens differ from what is asked now",
        remedy="give the run another name, or --force to set the old one aside",
        file=file,
    )
