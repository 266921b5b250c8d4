"""Everything a workspace holds, gathered for the one page."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forescale
from forescale.base.artifact import read_manifest, stands
from forescale.base.errors import ArtifactError, ForescaleError
from forescale.base.records.align import AlignRecord, PreferSummary
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.evaluation import EvalResult
from forescale.base.records.laws import Laws
from forescale.base.records.plan import Plan
from forescale.base.records.report import ReportData, Sample, TrainingLog
from forescale.base.records.run import RunRecord
from forescale.base.records.tokens import TokensSummary
from forescale.base.runtime import machine
from forescale.project.ladder import read_rows
from forescale.project.ledger_verb import ledger_of
from forescale.project.workspace import Workspace

if TYPE_CHECKING:
    from forescale.project.project import Project

LOG_ROWS = 600
"""Rows of a training curve that the page keeps: more than its pixels would not be seen."""
STAGES = {"target": "pretrained", "sft": "sft", "dpo": "dpo"}


def write_report(
    project: Project, *, phases: Mapping[str, float] | None = None, command: str = "forescale report"
) -> Path:
    """Write report/index.html from whatever the workspace has."""
    from forescale.report import page

    return page.write(gather(project, phases or {}, command), project.workspace.report)


def gather(project: Project, phases: Mapping[str, float], command: str) -> ReportData:
    """The page's data; what is not there yet is left out."""
    space = project.workspace
    tables = sorted(space.root.glob("ladders/*/runs.csv"))
    there = [space.laws / "laws.json", space.ledger, *space.root.glob("plans/*/plan.json")]
    if not tables and not stands(space.corpus) and not any(path.exists() for path in there):
        raise ArtifactError(
            "there is nothing to report yet",
            why=f"{space.root} has no corpus, ladder, laws, plan or ledger",
            remedy="run forescale clean, ladder, fit, plan, pretrain first",
        )
    records = {
        name: AlignRecord.read(path) for name in ("sft", "dpo") if (path := space.run(name) / "record.json").exists()
    }
    plans = _newest(space.root.glob("plans/*/plan.json"))
    name = plans.parent.name if plans else None
    target = _run_record(space, name)
    evaluations = {
        stage: EvalResult.read(p)
        for run, stage in _stages(name).items()
        if (p := space.evaluation(run) / "result.json").exists()
    }
    tokens: TokensSummary | None = _summary(space.tokens, TokensSummary)
    return ReportData(
        title=f"forescale: {space.root.name}",
        command=command,
        version=forescale.__version__,
        made_at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine(),
        seed=project.recipe.train.seed,
        corpus=_summary(space.corpus, CorpusSummary),
        tokens=tokens,
        scored_tokens=_scored(project, tokens, target),
        runs=[_numbers(row) for table in tables for row in read_rows(table)],
        laws=Laws.read(space.laws / "laws.json") if (space.laws / "laws.json").exists() else None,
        plan=Plan.read(plans) if plans else None,
        target=target,
        ledger=ledger_of(space),
        align=list(records.values()),
        prefer=PreferSummary.read(p) if (p := space.run("dpo") / "prefer.json").exists() else None,
        evaluations=evaluations,
        samples=_samples(project, name),
        logs=_logs(space, name),
        seconds=dict(phases),
        paths=_paths(space),
    )


def _scored(project: Project, tokens: TokensSummary | None, target: RunRecord | None) -> int | None:
    """How many validation tokens a score reads: as the big run counted them, else as the recipe asks."""
    if target is not None and target.validation is not None:
        return target.validation.tokens
    if tokens is None:
        return None
    seq_len = project.recipe.model.seq_len
    return min(tokens.validation.tokens, project.recipe.train.validation_tokens) // seq_len * seq_len


def _stages(plan: str | None) -> dict[str, str]:
    return {plan or "target": "pretrained", "sft": "sft", "dpo": "dpo"}


def _newest(paths: Any) -> Path | None:
    return max(paths, key=lambda p: p.stat().st_mtime, default=None)


def _run_record(space: Workspace, name: str | None) -> RunRecord | None:
    path = space.run(name or "target") / "record.json"
    if not path.exists():
        return None
    records = json.loads(path.read_text())
    return RunRecord.model_validate(records[-1]) if records else None


def _summary(folder: Path, kind: Any) -> Any:
    try:
        return kind.model_validate(read_manifest(folder).summary)
    except ForescaleError:
        return None


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    """A run table's row with its numbers as numbers."""
    return {key: _number(value) for key, value in row.items()}


def _number(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value or None


def _samples(project: Project, plan: str | None) -> list[Sample]:
    """The same few held-out questions to every stage's model."""
    heldout = project.default_pairs("heldout")
    space = project.workspace
    models = {stage: space.run(run) / "weights" for run, stage in _stages(plan).items()}
    models = {stage: folder for stage, folder in models.items() if (folder / "config.json").exists()}
    if heldout is None or not models:
        return []
    from forescale.evaluate.run import samples

    return samples(models, heldout, max_new=96)


def _logs(space: Workspace, plan: str | None) -> list[TrainingLog]:
    """Training curves of the big run and, thinned, of the ladder's dearest trunks."""
    folders = [space.run(plan or "target"), *sorted(space.root.glob("ladders/*/runs/*"))]
    logs = []
    for folder in folders:
        path = folder / "log.jsonl"
        if path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            step = max(1, len(rows) // (LOG_ROWS if folder == folders[0] else 60))
            logs.append(
                TrainingLog(run=folder.name, path=os.path.relpath(path, space.report.parent), rows=rows[::step])
            )
    return logs


def _paths(space: Workspace) -> dict[str, str]:
    """Where things lie, relative to the page."""
    found = {
        "corpus": space.corpus,
        "tokenizer": space.tokenizer,
        "tokens": space.tokens,
        "laws": space.laws,
        "ledger": space.ledger,
    }
    found |= {f"runs/{p.name}": p for p in (*space.root.glob("runs/*"), *space.root.glob("ladders/*/runs/*"))}
    found |= {f"evals/{p.name}": p for p in space.root.glob("evals/*")}
    return {name: os.path.relpath(path, space.report.parent) for name, path in found.items() if path.exists()}
