"""design -> launch -> run table. Killed and started again, it repeats no finished run."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.artifact import read_manifest, recipe_hash
from forescale.base.config import ModelSection, Recipe
from forescale.base.errors import InputError, SystemFailure
from forescale.base.executor import Executor
from forescale.base.files import write_atomic
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.run import RUN_COLUMNS, RunRecord
from forescale.base.records.spec import RunSpec
from forescale.base.records.tokens import TokensSummary
from forescale.base.shape import ModelShape
from forescale.project.spent import add_seconds, counted
from forescale.project.workspace import Workspace
from forescale.scaling.ladder import Design, Grounds, design

if TYPE_CHECKING:
    from forescale.project.project import Project

Progress = Callable[[Design, Sequence[RunRecord]], None]
"""Called with the design (without trunks that failed) at the start, and after each trunk, with all records so far."""


def grounds(project: Project, name: str) -> Grounds:
    """What a ladder of this workspace stands on."""
    return grounds_of(project.workspace, project.recipe, name)


def grounds_of(space: Workspace, recipe: Recipe, name: str) -> Grounds:
    """The same, from where its tokens lie and its recipe."""
    tokens = TokensSummary.model_validate(read_manifest(space.tokens).summary)
    return Grounds(
        shape_for=shape_rule(recipe.model, tokens.vocab_size),
        tokens_dir=str(space.tokens),
        tokenizer_dir=str(space.tokenizer),
        out_dir=str(space.ladder(name) / "runs"),
        group=space.root.name,
        unique_tokens=tokens.train.tokens,
        recipe=recipe,
    )


def shape_rule(section: ModelSection, vocab_size: int) -> Callable[[float], ModelShape]:
    """M -> the nearest buildable shape under the recipe's rules."""
    from forescale.scaling.shapes import ShapeRules, nearest

    rules = ShapeRules.of(section.model_copy(update={"vocab_size": section.vocab_size or vocab_size}))
    return lambda flops_per_token: nearest(flops_per_token, rules)


def run_ladder(
    project: Project,
    name: str = "ladder",
    *,
    budgets: Sequence[float] = (),
    seed: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> LadderSummary:
    """Run the ladder `name`: every trunk through the executor, every ended run a row of runs.csv."""
    seed = project.recipe.train.seed if seed is None else seed
    base = grounds(project, name)
    plan = design(list(budgets) or project.recipe.ladder.budgets, base, seed=seed)
    check_tokens(plan, base.unique_tokens)
    folder = project.workspace.ladder(name)
    summary = summarise(name, folder / "runs.csv", plan, [], {}, 0.0)
    if dry_run:
        return summary
    parents = [read_manifest(project.workspace.tokens).recipe]
    settings = {
        "ladder": project.recipe.ladder.model_dump(exclude={"cores"}),
        "model": project.recipe.model.model_dump(),
        "train": project.recipe.train.model_dump(),
        "budgets": list(plan.budgets),
    }
    recipe = recipe_hash("ladder", parents=parents, settings=settings, seed=seed)
    with project.make(folder, "ladder", recipe, parents, settings, "ladder") as made:
        if not made.already:
            made.summary = _run(project, name, folder, plan, progress).to_json()
    return counted(folder, LadderSummary.model_validate(made.summary))


def _run(project: Project, name: str, folder: Path, plan: Design, progress: Progress | None) -> LadderSummary:
    table = folder / "runs.csv"
    with _sitting(folder):
        records, failed = run_trunks(project.executor(), plan, lambda spec: table, "ladder", progress)
    refuse_unfinished(f"the ladder {name}", table, records, failed)
    return counted(folder, summarise(name, table, plan, records, failed, 0.0))


def run_specs(
    project: Project, name: str, specs: Sequence[RunSpec], before: LadderSummary, progress: Progress | None
) -> LadderSummary:
    """More runs for a ladder that has ended: rows are added to its table."""
    folder = project.workspace.ladder(name)
    plan = Design(before.budgets, tuple(specs))
    with _sitting(folder):
        _, failed = run_trunks(project.executor(), plan, lambda spec: folder / "runs.csv", "ladder", progress)
    return counted(folder, before.model_copy(update={"failed": before.failed | failed}))


def run_trunks(
    executor: Executor, plan: Design, table_of: Callable[[RunSpec], Path], label: str, progress: Progress | None
) -> tuple[list[RunRecord], dict[str, str]]:
    """Every trunk through the executor; each one's rows are appended to its table as it ends.

    Gives the records, and why trunks or runs failed, by name. What the machine refused (a full disk) is raised once
    all trunks have ended.
    """
    from forescale.worker import run_trunk

    records: list[RunRecord] = []
    failed: dict[str, str] = {}
    system: SystemFailure | None = None
    if progress:
        progress(plan, records)
    for outcome in executor.map(run_trunk, list(plan.specs), label=label):
        if outcome.error is not None:
            failed[outcome.part.name] = str(outcome.error).splitlines()[0]
            system = outcome.error if isinstance(outcome.error, SystemFailure) else system
            plan = replace(plan, specs=tuple(spec for spec in plan.specs if spec.name != outcome.part.name))
        else:
            ended = list(outcome.result or [])
            records += ended
            append_rows(table_of(outcome.part), ended)
            failed |= {r.run: r.reason for r in ended if r.status != "finished"}
        if progress:
            progress(plan, records)
    if system is not None:  # not the run's own end: a ladder sealed without it would never make it up
        raise system
    return records, failed


def append_rows(table: Path, records: Sequence[RunRecord]) -> None:
    """Append whole rows for the records that the table does not have yet; a row that was cut short is made again."""
    before = table.read_text(encoding="utf-8") if table.exists() else ""
    before = before[: before.rfind("\n") + 1]
    known = {row["run"] for row in csv.DictReader(io.StringIO(before))}
    text = io.StringIO()
    writer = csv.DictWriter(text, RUN_COLUMNS, lineterminator="\n")
    if not before:
        writer.writeheader()
    for record in records:
        if record.run not in known:
            writer.writerow({key: "" if value is None else value for key, value in record.row().items()})
    if text.getvalue() or not table.exists():  # whole: a reader, or a full disk, never sees half a row
        write_atomic(table, (before + text.getvalue()).encode())


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows of a run table as text."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_tokens(plan: Design, have: int, corpus: str = "the corpus") -> None:
    """A run that repeats its corpus is not on the curve of one that does not."""
    longest = plan.longest
    need = max(longest.branches)
    if need > have:
        raise InputError(
            f"{corpus} has {have:,} training tokens; run {longest.name} wants {need:,}",
            why=f"{need - have:,} tokens would be repeated, and a repeated token teaches less",
            remedy="add text, or lower [ladder] budgets",
            key="ladder.budgets",
        )


def refuse_unfinished(
    ladder: str, table: Path, records: Sequence[RunRecord], failed: Mapping[str, str], verb: str = "ladder"
) -> None:
    """A ladder of which no run finished is no ladder."""
    if not any(r.status == "finished" for r in records):
        raise InputError(
            f"no run of {ladder} finished",
            why="; ".join(f"{run}: {reason}" for run, reason in list(failed.items())[:3]),
            remedy=f"look into {table.parent}/runs/*/log.jsonl, then run forescale {verb} again",
            file=table,
        )


def summarise(
    name: str, table: Path, plan: Design, records: Sequence[RunRecord], failed: dict[str, str], seconds: float
) -> LadderSummary:
    """How a ladder ended, in so many seconds."""
    done = [r for r in records if r.status == "finished"]
    return LadderSummary(
        name=name,
        table=str(table),
        budgets=plan.budgets,
        trunks=len(plan.specs),
        runs=len(done),
        failed=failed,
        largest_flops=max((r.flops for r in done), default=max(plan.budgets)),
        total_flops=plan.flops,
        seconds=seconds,
    )


@contextmanager
def _sitting(folder: Path) -> Iterator[None]:
    """Wall time of this sitting counts, however it ends."""
    start = time.monotonic()
    try:
        yield
    finally:
        add_seconds(folder, time.monotonic() - start)
