"""The executors: this machine's processes, torchrun's ranks, Ray, Slurm. The only room that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from forescale.base.errors import ConfigError
from forescale.base.executor import Executor

Kind = Literal["local", "ray", "slurm"]


def open_executor(
    kind: str = "local",
    workers: int | None = None,
    address: str | None = None,
    *,
    threads: int = 1,
    folder: Path | None = None,
) -> Executor:
    """The executor that `--executor` names; `folder` is where Slurm's jobs leave their files."""
    if kind == "local":
        from forescale.launch.local import LocalExecutor

        return LocalExecutor(workers, threads)
    if kind == "ray":
        from forescale.launch.ray import RayExecutor

        return RayExecutor(address, workers=workers, threads=threads)
    if kind == "slurm":
        from forescale.launch.slurm import SlurmExecutor

        return SlurmExecutor(folder or Path(".forescale-slurm"), workers=workers, threads=threads)
    raise ConfigError(f"there is no executor `{kind}`", remedy="local, ray or slurm", key="executor")
