"""Checkpoints: written while training goes on, whole or not at all, checked when read.

A checkpoint is `NNNNNNNN.safetensors` (named tensors) and `NNNNNNNN.json` (what it is, and the hash of the first),
in the order of writing. The JSON is renamed into place last: without it there is no checkpoint. The loop pays
only for what is left of a copy when it wants to change the weights; a thread does the rest, and prunes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from forescale.base.errors import ArtifactError, ForescaleError, SystemFailure
from forescale.base.files import disk_failure, sha256_file, write_atomic
from forescale.base.records.record import Record
from forescale.train.records import another_run

_NAMES = {torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}


class CheckpointMeta(Record):
    """What a checkpoint says of itself."""

    fingerprint: str
    """Hash of everything that decides the run's trajectory; a checkpoint of another run is never taken."""
    branch: int
    """Index of the branch that was being trained (or led up to)."""
    step: int
    """Optimizer steps behind the live weights."""
    trunk_step: int | None = None
    """Steps behind the trunk's weights, while a branch that is not the last one decays."""
    pinned: bool = False
    """Never pruned: the end of the constant rate, from which a run can be extended."""
    numbers: dict[str, float] = Field(default_factory=dict)
    """Sums of the loop that go on after a restart (seconds, the log's window)."""
    trunk_numbers: dict[str, float] = Field(default_factory=dict)
    bytes: int = 0
    sha256: str = ""


class Checkpointer:
    """Writes checkpoints of one run in a background thread, one at a time, and prunes old ones."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self.written_at = time.monotonic()
        self._buffers: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: ForescaleError | None = None
        self._staged = threading.Event()
        self._staged.set()
        numbers = [int(p.stem) for p in folder.glob("*.json") if p.stem.isdigit()]
        self._next = max(numbers, default=0) + 1

    def save(self, tensors: Mapping[str, Tensor], meta: CheckpointMeta) -> None:
        """Start to copy `tensors` to the host and to write them; waits only for the checkpoint before.

        The copy is taken while the next step runs forward and backward: call `staged` before anything changes them.
        """
        self.wait()
        number, self._next = self._next, self._next + 1
        self.written_at = time.monotonic()
        self._staged.clear()
        self._thread = threading.Thread(
            target=self._write, args=(number, dict(tensors), meta), name="checkpoint", daemon=True
        )
        self._thread.start()

    def staged(self) -> None:
        """Wait until the copy is taken: then the tensors may change."""
        self._staged.wait()

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk; raise what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def clear(self) -> None:
        """Remove all but pinned checkpoints: the run has ended, and its weights and records are written."""
        self.wait()
        _prune(self.folder, 0)

    def _copy(self, tensors: Mapping[str, Tensor]) -> None:
        """Into buffers that stay, so that their pages are there the next time."""
        for name in set(self._buffers) - set(tensors):
            del self._buffers[name]
        for name, tensor in tensors.items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape:
                buffer = self._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
            buffer.copy_(tensor)

    def _write(self, number: int, tensors: Mapping[str, Tensor], meta: CheckpointMeta) -> None:
        data, aside = self.folder / f"{number:08}.safetensors", self.folder / f".{number:08}.tmp"
        try:
            try:
                self._copy(tensors)
            finally:
                self._staged.set()
            self.folder.mkdir(parents=True, exist_ok=True)
            n_bytes, digest = write_tensors(aside, self._buffers)
            aside.replace(data)
            write_atomic(
                data.with_suffix(".json"),
                meta.model_copy(update={"bytes": n_bytes, "sha256": digest}).model_dump_json().encode(),
            )
            _prune(self.folder, self.keep)
        except OSError as error:
            self._error = disk_failure(error, data)
        except ForescaleError as error:
            self._error = error
        except (MemoryError, RuntimeError) as error:  # torch's way to say that there is no memory for the copy
            self._error = SystemFailure(
                f"cannot copy the state for a checkpoint: {error}",
                why="a checkpoint needs the state once more in this machine's memory",
                remedy="run the same command again with fewer processes or more memory",
            )
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            if self._error is not None:
                with contextlib.suppress(OSError):
                    data.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write host tensors as a safetensors file, flushed to the disk; gives its size and SHA-256.

    By plain writes, so that a full disk is an OSError with its number, and large writes let other threads run.
    """
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        pieces: list[Any] = [
            len(head).to_bytes(8, "little"),
            head,
            *(t.contiguous().view(-1).view(torch.uint8).numpy().data for t in tensors.values()),
        ]
        for piece in pieces:
            view = memoryview(piece)
            digest.update(view)
            while view:
                view = view[file.write(view) :]
        os.fsync(file.fileno())
    return 8 + len(head) + at, digest.hexdigest()


@dataclass(frozen=True)
class Found:
    """What a restart takes over: nothing, or the newest usable checkpoint; and the damaged ones passed over."""

    meta: CheckpointMeta | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


def read_latest(folder: Path, fingerprint: str, usable: Callable[[CheckpointMeta], bool] = lambda meta: True) -> Found:
    """The newest whole checkpoint of this run that is `usable`; damaged ones are passed over, and named."""
    passed: list[str] = []
    for path in sorted(folder.glob("[0-9]*.json"), reverse=True):
        try:
            meta = _read_meta(path)
            if meta.fingerprint != fingerprint:
                raise another_run(folder, path)
            if usable(meta):
                return Found(meta, _read_tensors(path.with_suffix(".safetensors"), meta), passed)
        except _DamagedError as error:
            passed.append(f"{error}; going back to the one before")
    return Found(passed_over=passed)


class _DamagedError(Exception):
    """A checkpoint that cannot be used."""


def _read_meta(path: Path) -> CheckpointMeta:
    try:
        return CheckpointMeta.read(path)
    except ArtifactError as error:
        raise _DamagedError(error.what) from None


def _read_tensors(path: Path, meta: CheckpointMeta) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if not path.exists():
        raise _DamagedError(f"checkpoint {path.name} is missing")
    if path.stat().st_size != meta.bytes or sha256_file(path) != meta.sha256:
        raise _DamagedError(f"checkpoint {path.name} is damaged")
    return load_file(path)


def _prune(folder: Path, keep: int) -> None:
    """Keep the newest `keep` checkpoints and all pinned ones; the JSON goes first, so that none is half there."""
    loose = []
    for path in sorted(folder.glob("[0-9]*.json"), reverse=True):
        try:
            pinned = _read_meta(path).pinned
        except _DamagedError:
            pinned = False
        if not pinned:
            loose.append(path)
    for path in loose[keep:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".safetensors").unlink(missing_ok=True)
    if folder.is_dir():
        named = {path.stem for path in folder.glob("[0-9]*.json")}
        for stray in folder.glob("[0-9]*.safetensors"):
            if stray.stem not in named:
                stray.unlink(missing_ok=True)
