"""The one place that reads the environment and asks the machine what it is."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of a worker process; must be in place before torch or numpy are imported.

    Passive waiting costs a few percent on a quiet machine and saves a factor on a busy one.
    """
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment with a worker's settings in it: what a child process is started with."""
    return os.environ | worker_environment(threads)


def set_worker_environment(threads: int) -> None:
    """Put a worker's settings into this process's own environment, for children that others start from it."""
    os.environ.update(worker_environment(threads))


def test_data() -> Path | None:
    """The folder named by FORESCALE_TEST_DATA (default: ../shared/data beside the checkout), or None."""
    path = Path(os.environ.get("FORESCALE_TEST_DATA", "../shared/data"))
    return path if path.is_dir() else None


def machine() -> str:
    """One line that says what this machine is."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {cores()} cores"


def memory_gib() -> float | None:
    """This machine's memory in GiB; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return round(int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) / 2**20, 1)
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def gpus() -> list[str]:
    """Name and memory of each GPU, as its driver's own tool says; none where there is no such tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    question = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
