"""Parts as Slurm jobs, through submitit; its local executor runs the same jobs as processes, for tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forescale.base.errors import MissingExtraError, SystemFailure
from forescale.launch.call import Call, run
from forescale.launch.spread import AGAIN, LostError, Spreading

DEFAULT_WORKERS = 64  # our choice: jobs in the queue at once


class SlurmExecutor(Spreading[Any]):
    """One job a part. `cluster` None: Slurm where `sbatch` exists; "local": processes of this machine."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int | None = None,
        threads: int = 1,
        cluster: str | None = None,
        poll_seconds: float | None = None,
        minutes: int = 24 * 60,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise MissingExtraError.of("slurm", "--executor slurm") from None
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster or "slurm")
        except RuntimeError as error:
            raise SystemFailure(
                f"cannot reach Slurm: {error}", remedy="run on a machine with sbatch, or use --executor local"
            ) from error
        self._executor.update_parameters(
            timeout_min=minutes, cpus_per_task=threads, name="forescale", **(parameters or {})
        )
        super().__init__(workers or DEFAULT_WORKERS, threads)
        self._poll = poll_seconds if poll_seconds is not None else (0.2 if cluster == "local" else 5.0)

    def submit(self, call: Call) -> Any:
        """Queue a call."""
        return self._executor.submit(run, call)

    def wait(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Ask the queue until a job has ended."""
        while not (ended := [job for job in handles if job.done()]):
            time.sleep(self._poll)
        return ended

    def answer(self, handle: Any) -> tuple[bool, Any]:
        """A job's answer, or the word that it was lost."""
        try:
            return handle.result()
        except Exception as error:  # submitit's own kinds: failed, timed out, cancelled, no pickle written
            first = str(error).strip().splitlines()[0]
            return False, LostError(
                f"job {handle.job_id} was lost: {first}",
                why="it was killed, timed out, or its node failed",
                remedy=AGAIN,
                file=handle.paths.stderr,
            )

    def cancel(self, handle: Any) -> None:
        """Take a job out of the queue."""
        with contextlib.suppress(Exception):
            handle.cancel(check=False)
