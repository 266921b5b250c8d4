"""A ladder, its sealed forecast, and the run that tests it: what benchmarks/demo.py and benchmarks/ladders.py repeat."""

from __future__ import annotations

import json
import math
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpora import workspace
from forescale.base.files import write_atomic
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.run import RunRecord
from forescale.base.runtime import machine
from forescale.project.ladder import read_rows
from forescale.project.pretrain import read_plan
from forescale.project.project import Project
from forescale.scaling.ledger import Ledger

LADDER = "ladder"
TARGET_SEED = 7_777
"""Added to a chain's seed: the target is a new run, on a seed that no run of the ladder had."""


@dataclass(frozen=True)
class Chain:
    """One ladder and the targets that test it."""

    root: str
    corpus: str
    seed: int
    budgets: tuple[float, ...]
    targets: tuple[float, ...] = ()
    """FLOPs; empty: 10.05 times the ladder's largest run."""

    @property
    def project(self) -> Project:
        """Its workspace."""
        return workspace(Path(self.root), self.corpus, f"seed{self.seed}")


def climb(chain: Chain) -> LadderSummary:
    """The ladder."""
    return chain.project.ladder(LADDER, budgets=chain.budgets, seed=chain.seed)


def conclude(chain: Chain) -> list[dict[str, Any]]:
    """Fit, plan, seal, train: one result a target. A target that was sealed is never planned again."""
    project, ladder = chain.project, climb(chain)
    laws = project.fit(LADDER)
    found = []
    for flops in chain.targets or (10.05 * ladder.largest_flops,):
        name = f"target-{flops:.2e}".replace("+", "")
        if not (project.workspace.run(name) / "spec.json").exists():
            project.plan(name, flops=flops)
        start = time.monotonic()
        record = project.pretrain(name, seed=chain.seed + TARGET_SEED, processes=1)
        assert isinstance(record, RunRecord)
        facts = {"corpus": chain.corpus, "seed": chain.seed, "regime": laws.regime, "runs": ladder.runs}
        facts |= {"ladder_flops": ladder.largest_flops, "seconds": round(time.monotonic() - start)}
        found.append(facts | result(project, name, record, flops))
    return found


def result(project: Project, name: str, record: RunRecord, flops: float) -> dict[str, Any]:
    """Forecast and outcome of one target, beside the two simple baselines."""
    assert record.validation is not None
    plan = read_plan(project, name)[1]
    forecast = plan.forecast
    assert forecast is not None
    entry = next(e for e in Ledger(project.workspace.ledger).view().entries if e.kind == "sealed" and e.plan == name)
    return {
        "forecast": forecast.loss, "interval": forecast.interval, "outcome": record.validation.bits_per_byte,
        "target_flops": record.flops, "line": straight_line(project, flops), "huber": huber(project, record),
        "shape": [plan.model.n_layer, plan.model.d_model], "tokens": record.tokens, "lr": plan.learning_rate,
        "batch_tokens": plan.batch_tokens, "digest": entry.digest, "sealed_at": entry.sealed_at,
        "commit": commit(), "machine": machine(),
    }  # fmt: skip


def straight_line(project: Project, flops: float) -> float:
    """A straight log-log line through the best runs of the two largest budgets."""
    best: dict[float, float] = {}
    for row in read_rows(project.workspace.ladder(LADDER) / "runs.csv"):
        if row["bpb"] and row["budget"]:
            budget = float(row["budget"])
            best[budget] = min(float(row["bpb"]), best.get(budget, math.inf))
    (c0, l0), (c1, l1) = sorted(best.items())[-2:]
    return l1 * (flops / c1) ** (math.log(l1 / l0) / math.log(c1 / c0))


def huber(project: Project, record: RunRecord) -> float | None:
    """Chinchilla's form with the Huber loss, what published tools do; None where it cannot be fitted."""
    from forescale.base.errors import ForescaleError
    from forescale.scaling.fit import fit

    try:
        surface = fit(project.workspace.ladder(LADDER) / "runs.csv", form="chinchilla").surface
    except ForescaleError:
        return None
    return None if surface is None else surface.loss(record.shape.flops_per_token, record.tokens)


def commit() -> str:
    """The commit that made a result."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def read_results(path: Path) -> list[dict[str, Any]]:
    """Results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep_result(path: Path, row: dict[str, Any]) -> None:
    """One more result, at once: a benchmark that is cut keeps what it has. The row of a forecast that is kept already
    stands, with the commit that sealed it; another of the same target, from another checkout, gives way."""
    rows = read_results(path)
    if any(r["digest"] == row["digest"] for r in rows):
        return
    rows = [r for r in rows if _target(r) != _target(row)] + [row]
    write_atomic(path, "".join(json.dumps(r) + "\n" for r in rows).encode())
    print(json.dumps(row), flush=True)


def _target(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["corpus"], row["seed"], f"{row['target_flops']:.1e}"
