"""One rank: a spec in, records out. `run_trunk` for executors, `python -m forescale.worker SPEC` under torchrun."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from forescale.base.errors import ForescaleError
from forescale.base.files import write_atomic
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec

ERROR_FILE = "error.json"
"""Where a rank that fails says why, so that its launcher need not guess from an exit code."""


def run_trunk(spec: RunSpec) -> list[RunRecord]:
    """Train one trunk in this process and give its records: what executors map over a ladder's specs."""
    import torch

    from forescale.train.device import hold_memory
    from forescale.train.loop import run_trunk as train

    hold_memory()
    torch.set_num_threads(spec.threads)
    return train(spec)


def main(arguments: list[str]) -> int:
    """Run as one rank (of those torchrun started, or alone); the exit code is the contract's."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    if len(arguments) != 1:
        print("usage: python -m forescale.worker SPEC.json", file=sys.stderr)
        return 2
    spec: RunSpec | None = None
    try:
        spec = RunSpec.read(Path(arguments[0]))
        return _train(spec)
    except ForescaleError as error:
        if spec is not None:
            _leave_word(Path(spec.out_dir), error)
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(stop, file=sys.stderr)
        return int(getattr(stop, "exit_code", 130))


def _train(spec: RunSpec) -> int:
    import torch

    from forescale.train.device import hold_memory
    from forescale.train.loop import run_trunk as train
    from forescale.train.parallel import join

    hold_memory()
    torch.set_num_threads(spec.threads)
    Path(spec.out_dir, ERROR_FILE).unlink(missing_ok=True)
    with join() as ranks:
        train(spec, ranks=ranks)
        ranks.barrier()
    return 0


def _leave_word(folder: Path, error: ForescaleError) -> None:
    """Put the error where the launcher looks; where even that cannot be written, standard error has it."""
    try:
        write_atomic(folder / ERROR_FILE, json.dumps({"error": error.as_json()}).encode())
    except ForescaleError as second:
        print(second, file=sys.stderr)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Leaving without the interpreter's own tear-down: about one distributed run in ten aborts there, after its end.
    os._exit(code)
