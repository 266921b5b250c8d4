"""Verbs that look at what was made: score it, talk to it, report it, say what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.cli.options import Common
from forescale.cli.verb import verb

PANEL = "Look"


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verb(app, "evaluate", panel=PANEL)(evaluate)
    verb(app, "chat", panel=PANEL)(chat)
    verb(app, "report", panel=PANEL)(report)
    verb(app, "show", panel=PANEL)(show)


def evaluate(
    common: Common,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a weights folder.")],
    tasks: Annotated[str, typer.Option("--tasks", metavar="A,B,...", help="Comma-separated.")],
) -> Any:
    """Score a model, with an interval for each task and every answer kept."""
    names = [task.strip() for task in tasks.split(",") if task.strip()]
    return common.project(near=Path(model)).evaluate(model, tasks=names)


def chat(
    common: Common, model: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a weights folder.")]
) -> Any:
    """Talk to a model in the terminal."""
    answers = common.project(near=Path(model)).chat(model)
    return {"model": model, "answers": answers} if common.json else None


def report(common: Common) -> Any:
    """Write report/index.html: all of the workspace on one page."""
    from forescale.project.ledger_verb import ledger_warnings

    project = common.project()
    return {"path": str(project.report()), "warnings": ledger_warnings(project.workspace)}


def show(
    common: Common,
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="An artifact's, comparison's, plan's or run's folder, or a workspace."),
    ],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Check every file's hash, and plans and outcomes against the ledger.", show_default=False
        ),
    ] = False,
    lineage: Annotated[bool, typer.Option("--lineage", help="Draw what it was made from.", show_default=False)] = False,
) -> dict[str, Any]:
    """Say any artifact in words."""
    from forescale.project.show import show as describe

    return describe(path, verify=verify, lineage=lineage)
