"""The ladder of small runs, and what to run next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.cli.laws import Runs, reading
from forescale.cli.options import (
    Columns,
    Common,
    ExecutorKind,
    ExecutorOption,
    Group,
    MetricOption,
    RayAddress,
    ScaleOption,
    Where,
    fraction,
    number,
)
from forescale.cli.verb import verb


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    group = typer.Typer(help="A grid of small runs that the laws are fitted to.")
    verb(group, "ladder", group=True)(ladder)
    verb(group, "ladder suggest")(suggest)
    app.add_typer(group, name="ladder", rich_help_panel="Laws")


def ladder(
    common: Common,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Its folder: ladders/NAME.")] = "main",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the grid; train nothing.", show_default=False)
    ] = False,
    target: Annotated[
        float | None,
        typer.Option("--target", parser=number, metavar="FLOPS", help="Go on until its forecast is sharp."),
    ] = None,
    until_interval: Annotated[
        float | None,
        typer.Option("--until-interval", parser=fraction, metavar="SHARE", help="Width to reach, e.g. 1%."),
    ] = None,
    allowance: Annotated[
        float | None, typer.Option("--allowance", parser=number, metavar="FLOPS", help="Stop when this is spent.")
    ] = None,
    executor: ExecutorOption = ExecutorKind.local,
    ray_address: RayAddress = None,
) -> Any:
    """Train a grid of small runs; killed and started again it repeats none that finished."""
    from forescale.project.display import live_ladder

    project = common.project(executor, ray_address)
    with live_ladder(project.recipe.ladder.cores or None) as progress:
        return project.ladder(
            name=name, dry_run=dry_run, target=target, until_interval=until_interval, allowance=allowance,
            progress=progress,
        )  # fmt: skip


def suggest(
    common: Common,
    target: Annotated[
        float, typer.Option("--target", parser=number, metavar="FLOPS", help="Compute of the run to forecast.")
    ],
    runs: Runs = None,
    candidates: Annotated[
        Path | None, typer.Option("--candidates", metavar="CSV", help="Choose among these rows only.")
    ] = None,
    scale: ScaleOption = None,
    column: Columns = None,
    where: Where = None,
    group: Group = None,
    metric: MetricOption = None,
) -> Any:
    """The next runs that narrow the target's forecast most for their FLOPs."""
    from forescale.project import laws_verbs

    return laws_verbs.suggest_verb(
        runs or [], target=target, candidates=candidates, **reading(scale, column, where, group, metric),
        workspace=common.workspace,
    )  # fmt: skip
