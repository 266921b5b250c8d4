"""What a shape costs on this machine when it is as busy as it will be: the measure behind `--minutes` and ladders."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from forescale.base.errors import SystemFailure
from forescale.base.executor import results
from forescale.base.runtime import child_environment, cores
from forescale.base.shape import ModelShape
from forescale.launch.local import LocalExecutor
from forescale.train.speed import SpeedCase, seconds_per_token

SECONDS = 1.0
WARM_SECONDS = 0.2
"""Enough for every child to be started and to have imported torch before anything counts."""


class Meter:
    """Times shapes with `processes` single-thread processes training at once; use as a context, its children stay."""

    def __init__(self, processes: int | None = None, *, threads: int = 1) -> None:
        self.processes, self.threads = processes or cores(), threads
        self._pool = LocalExecutor(self.processes, threads)
        self._warm = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._pool.close()

    def seconds_per_token(self, shape: ModelShape, batch_tokens: int, *, seconds: float = SECONDS) -> float:
        """Seconds a token of one process while the others train the same: what a ladder's run gets."""
        if not self._warm:
            self._time(SpeedCase(shape, batch_tokens, self.threads, WARM_SECONDS))
            self._warm = True
        times = self._time(SpeedCase(shape, batch_tokens, self.threads, seconds))
        return sum(times) / len(times)

    def rank_gain(self, shape: ModelShape, batch_tokens: int, *, ranks: int, seconds: float = SECONDS) -> float:
        """How much faster `ranks` data-parallel ranks of one run are than one process of a busy machine.

        At most `ranks`: more can only mean that the machine was busier with others during the first measurement.
        """
        alone = self.seconds_per_token(shape, batch_tokens, seconds=seconds)
        together = ranks_seconds_per_token(SpeedCase(shape, batch_tokens, self.threads, seconds), ranks)
        return min(float(ranks), alone / together)

    def _time(self, case: SpeedCase) -> list[float]:
        return results(self._pool.map(seconds_per_token, [case] * self.processes, label="speed"))


def ranks_seconds_per_token(case: SpeedCase, ranks: int) -> float:
    """Seconds a token of a run of `ranks` torchrun ranks on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.json"
        path.write_text(json.dumps(dataclasses.asdict(case)))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [*command, "-m", "forescale.train.speed", str(path)],
            env=child_environment(case.threads),
            capture_output=True,
            check=False,
        )
        answer = path.with_suffix(".out")
        if not answer.exists():
            raise SystemFailure(
                f"{ranks} ranks could not be timed on this machine",
                why=done.stderr.decode(errors="replace").strip()[-500:],
                remedy="train with one process",
            )
        return float(json.loads(answer.read_text()))
