"""What a ladder has spent so far: its grid and every later run, also of calls that were killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forescale.base.files import write_atomic
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.spec import RunSpec

SECONDS = ".seconds.json"


def counted(folder: Path, summary: LadderSummary) -> LadderSummary:
    """The summary with all that lies in the ladder's folder: what its manifest says may be older than its table."""
    from forescale.project.ladder import read_rows

    table = folder / "runs.csv"
    if not table.exists():
        return summary
    rows = read_rows(table)
    done = [row for row in rows if row["status"] in ("", "finished")]
    ended = {row["run"]: row["status"] for row in rows if row not in done}
    trunks = flops_by_trunk(folder, rows)
    return summary.model_copy(
        update={
            "table": str(table),  # the workspace may have moved
            "trunks": len(trunks.keys() | (summary.failed.keys() - ended.keys())),
            "runs": len(done),
            "failed": ended | summary.failed,
            "largest_flops": max((float(row["flops"]) for row in done), default=summary.largest_flops),
            "total_flops": sum(trunks.values()),
            "seconds": seconds_so_far(folder) or summary.seconds,
        }
    )


def flops_by_trunk(folder: Path, rows: list[dict[str, str]]) -> dict[str, float]:
    """FLOPs (M x tokens, shared stages once) of each trunk: from its rows, or as far as its log goes where it has none.

    A run that was stopped half-way, or that the machine lost, has spent what its log says.
    """
    import numpy as np

    from forescale.scaling.derive import of_one_trunk
    from forescale.train.log import read_log

    tokens: dict[str, set[float]] = {}
    size: dict[str, float] = {}
    for row in rows:
        tokens.setdefault(row["trunk"], set()).add(float(row["tokens"]))
        size[row["trunk"]] = float(row["flops_per_token"])
    spent = {trunk: size[trunk] * of_one_trunk(np.array(sorted(ends))) for trunk, ends in tokens.items()}
    for path in sorted(folder.glob("runs/*/spec.json")):
        spec = RunSpec.read(path)
        if spec.name not in spent:
            spent[spec.name] = spec.shape.flops_per_token * _logged(list(read_log(path.with_name("log.jsonl"))), spec)
    return spent


def _logged(lines: list[Mapping[str, Any]], spec: RunSpec) -> float:
    """Tokens of a log: the trunk as far as it went, and each side branch from where it left the trunk."""
    furthest: dict[float | None, float] = {}
    for line in lines:
        branch = line.get("branch")
        furthest[branch] = max(furthest.get(branch, 0.0), float(line["tokens"]))
    sides = (
        max(0.0, tokens - spec.schedule.constant_until * branch)
        for branch, tokens in furthest.items()
        if branch is not None
    )
    return furthest.get(None, 0.0) + sum(sides)


def seconds_so_far(folder: Path) -> float:
    """Wall time of all sittings."""
    try:
        return float((folder / SECONDS).read_text())
    except (OSError, ValueError):
        return 0.0


def add_seconds(folder: Path, seconds: float) -> float:
    """Wall time with this sitting's; one that is cut short counts too."""
    total = seconds_so_far(folder) + seconds
    write_atomic(folder / SECONDS, str(total).encode())
    return total
