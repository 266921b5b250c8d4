"""One run as its own process, or as the ranks of torchrun; progress from its log, its end from its records."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forescale.base.errors import ForescaleError, SystemFailure
from forescale.base.files import disk_failure
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.base.runtime import child_environment
from forescale.train.records import read_records
from forescale.train.schedule import branch_steps, total_steps
from forescale.train.signals import Interrupted, StopWish
from forescale.worker import ERROR_FILE

OnProgress = Callable[[int, int, float, float], None]
"""Called at each log line: step of all the work, steps in all, loss in nats a token, tokens a second."""
POLL_SECONDS = 0.1


def run_spec(spec: RunSpec, on_progress: OnProgress | None = None, *, restarts: int = 1) -> list[RunRecord]:
    """Train `spec` in processes of its own; gives its records, those of a diverged run too.

    A run whose rank was killed is started again `restarts` times and goes on from its last checkpoint. Ctrl-C and
    SIGTERM are passed on: the ranks save their state, then `Interrupted` is raised.
    """
    branch_steps(spec)
    for attempt in range(restarts + 1):
        code = _once(spec, on_progress)
        records = read_records(spec)
        if len(records) == len(spec.branches):
            return records
        _raise_word(spec)
        if attempt < restarts:
            print(f"{spec.name}: a rank ended (exit code {code}); starting again", file=sys.stderr)
    raise SystemFailure(
        f"the processes of run {spec.name} ended {restarts + 1} times before the run did (exit code {code})",
        why=_tail(Path(spec.out_dir) / "worker.log"),
        remedy="run the same command again: it goes on from the last checkpoint; use fewer ranks if memory is short",
        file=Path(spec.out_dir) / "worker.log",
    )


def command(spec: RunSpec, path: Path) -> list[str]:
    """The command line that trains the spec at `path`: one process, or torchrun's ranks on this machine."""
    worker = ["-m", "forescale.worker", str(path)]
    if spec.processes == 1:
        return [sys.executable, *worker]
    # A fresh rendezvous each time: after a killed rank, new ones would dial the dead one's address.
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={spec.processes}"]
    return [sys.executable, *torchrun, *worker]


def _once(spec: RunSpec, on_progress: OnProgress | None) -> int:
    """Start the processes and wait for their end, telling progress; gives the exit code."""
    out = Path(spec.out_dir)
    asked = out / "asked.json"
    spec.write(asked)
    (out / ERROR_FILE).unlink(missing_ok=True)
    try:
        log = (out / "worker.log").open("wb")
    except OSError as error:
        raise disk_failure(error, out / "worker.log") from error
    with log, StopWish() as wish:
        process = subprocess.Popen(
            command(spec, asked),
            env=child_environment(spec.threads),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            follower = _Follower(spec, on_progress)
            told = False
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                follower.look()
                if wish.wanted and not told:
                    process.send_signal(signal.SIGTERM)  # torchrun passes it on to its ranks
                    told = True
            follower.look()
        finally:
            _end(process)
    if wish.wanted and len(read_records(spec)) < len(spec.branches):
        raise Interrupted(wish.signal)
    return process.returncode


class _Follower:
    """Reads a growing log and tells each new line."""

    def __init__(self, spec: RunSpec, on_progress: OnProgress | None) -> None:
        self.path, self.on_progress = Path(spec.out_dir) / "log.jsonl", on_progress
        self.steps = branch_steps(spec)
        self.per_step = spec.batch_tokens
        self.at = self.path.stat().st_size if self.path.exists() else 0

    def look(self) -> None:
        """Tell the newest whole line, if there is one."""
        if self.on_progress is None or not self.path.exists():
            return
        size = self.path.stat().st_size
        if size < self.at:  # a restarted run dropped lines that it will write again
            self.at = 0
        with self.path.open("rb") as file:
            file.seek(self.at)
            text = file.read()
        end = text.rfind(b"\n") + 1
        self.at += end
        lines = text[:end].splitlines()
        if lines:
            with contextlib.suppress(ValueError):
                self._tell(json.loads(lines[-1]))

    def _tell(self, line: dict[str, Any]) -> None:
        if self.on_progress is None or line.get("loss") is None:
            return
        step, branch = int(line["step"]), line.get("branch")
        decays = sum(
            end - leave
            for leave, end in self.steps
            if (leave < step if branch is None else end * self.per_step < branch) and (leave, end) != self.steps[-1]
        )
        self.on_progress(decays + step, total_steps(self.steps), float(line["loss"]), float(line["tokens_per_second"]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """No process of the group outlives its launcher."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _raise_word(spec: RunSpec) -> None:
    """Raise the error that a rank left behind, as the kind it was."""
    path = Path(spec.out_dir) / ERROR_FILE
    if not path.exists():
        return
    fields = json.loads(path.read_text(encoding="utf-8"))["error"]
    kinds = {kind.exit_code: kind for kind in ForescaleError.__subclasses__()}
    kind = kinds.get(fields.pop("code"), ForescaleError)
    raise kind(fields.pop("what"), **fields)


def _tail(path: Path, lines: int = 5) -> str:
    """The last lines of what the processes said."""
    try:
        return " | ".join(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""
