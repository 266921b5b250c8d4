"""Atomic writing, hashes: what every room does with files, one way."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from forescale.base.errors import SystemFailure


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, rename: all of it or nothing."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise disk_failure(error, path) from error


def disk_failure(error: OSError, path: Path) -> SystemFailure:
    """An operating system's refusal in our words."""
    return SystemFailure(
        f"cannot write {path}: {error.strerror or error}",
        why="nothing that was finished before is touched",
        remedy="free space or fix the permissions, then run the same command again: it goes on where it stopped",
        file=path,
    )


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
