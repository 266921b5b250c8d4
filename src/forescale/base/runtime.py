"""The one place that reads the environment and asks the machine what it is."""

from __future__ import annotations

import os
import platform
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
