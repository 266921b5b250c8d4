"""Verbs of the scaling laws: they need no workspace and no torch."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.base.errors import ArtifactError
from forescale.cli.options import (
    Columns,
    Common,
    ExecutorKind,
    ExecutorOption,
    Group,
    LevelOption,
    Metric,
    MetricOption,
    OutDir,
    RayAddress,
    Scale,
    ScaleOption,
    Where,
    checked,
    count,
    fraction,
    number,
    values,
)
from forescale.cli.verb import verb

PANEL = "Laws"
FORMS = "ensemble, generalised, quadrature, whole, wide, steep, weighted, chinchilla"
"""What `--form` knows; written out, since help must not open the fitting rooms. A test holds it to them."""
SCHEDULES = "multi_step, constant, cosine, linear, wsd; `cosine:0.1` ends at a tenth of the peak"
"""What `--schedule` knows; written out and held to `rates.NAMES` like FORMS."""
Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RUNS]...", help="CSV, JSONL, Parquet or a ladder's folder; default: the workspace's ladders."
    ),
]


class Example(enum.StrEnum):
    """What `example` prints."""

    runs = "runs"
    recipe = "recipe"


class Objective(enum.StrEnum):
    """What a plan makes small."""

    flops = "flops"
    hours = "hours"
    money = "money"


class Sharding(enum.StrEnum):
    """What copies of a model share out."""

    full = "full"
    zero1 = "zero1"


ObjectiveOption = Annotated[
    Objective, typer.Option("--objective", metavar="flops|hours|money", help="What is made small.")
]
ShardingOption = Annotated[
    Sharding | None,
    typer.Option(
        "--sharding",
        metavar="full|zero1",
        help="What copies of the model share out: all of its state (full, the default), or the optimizer alone.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verb(app, "fit", panel=PANEL)(fit)
    verb(app, "forecast", panel=PANEL)(forecast)
    verb(app, "plan", panel=PANEL)(plan)
    verb(app, "compare", panel=PANEL)(compare)
    verb(app, "ledger", panel=PANEL)(ledger)
    verb(app, "watch", panel=PANEL)(watch)
    verb(app, "example", panel=PANEL)(example)


def reading(
    scale: Scale | None, column: list[str] | None, where: list[str] | None, group: str | None, metric: Metric | None
) -> dict[str, Any]:
    """The reading options as the laws' functions take them."""
    return {
        "scale": scale.value if scale else None,
        "columns": checked(column, "--column"),
        "where": checked(where, "--where"),
        "group": group,
        "metric": metric.value if metric else None,
    }


def fit(
    common: Common,
    runs: Runs = None,
    scale: ScaleOption = None,
    column: Columns = None,
    where: Where = None,
    group: Group = None,
    metric: MetricOption = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--form",
            metavar="NAME",
            help=f"The form of the loss surface: {FORMS}. Default: ensemble, the mean of several.",
        ),
    ] = None,
    band: Annotated[
        float,
        typer.Option(
            "--band", parser=fraction, metavar="SHARE", help="Near-optimal: within this share of the best loss."
        ),
    ] = 0.0025,
    level: LevelOption = 0.9,
    thorough: Annotated[bool, typer.Option("--thorough", help="More draws and starts.", show_default=False)] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how the table is read; fit nothing.", show_default=False)
    ] = False,
    out: OutDir = None,
) -> Any:
    """Fit scaling laws to finished runs; figures beside them need the extra `report`."""
    from forescale.project import laws_verbs

    made = laws_verbs.fit_verb(
        runs or [], **reading(scale, column, where, group, metric), form=form, band=band, level=level,
        thorough=thorough, dry_run=dry_run, out=out, workspace=common.workspace, force=common.force,
        tell=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    if not dry_run:
        laws_verbs.say_figures(out, common.workspace)
    return made


def forecast(
    common: Common,
    laws: Annotated[str, typer.Argument(metavar="LAWS", help="A laws folder, a laws.json, or a published law's name.")],
    flops: Annotated[
        float | None,
        typer.Option(
            "--flops",
            parser=number,
            metavar="C",
            help="Compute at the fitted optimal split, as the laws count it: M x tokens, or 6 x N x tokens where their "
            "size is in parameters (`plan --flops` is always M x tokens).",
        ),
    ] = None,
    model_scale: Annotated[
        float | None, typer.Option("--model-scale", parser=number, metavar="X", help="Size in the laws' own unit.")
    ] = None,
    tokens: Annotated[
        float | None, typer.Option("--tokens", parser=number, metavar="D", help="With --model-scale.")
    ] = None,
    at: Annotated[
        Path | None, typer.Option("--at", metavar="POINTS.csv", help="A table of targets; needs --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="PRED.csv", help="The table with the forecasts.")] = None,
    level: LevelOption = 0.9,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--conditions",
            metavar="KEY=VALUE",
            help="What differs at the target (lr, batch_tokens, seq_len, unique_tokens, schedule, ...); repeatable.",
        ),
    ] = None,
) -> Any:
    """Forecast the loss of one new run, with an interval."""
    from forescale.project import laws_verbs

    return laws_verbs.forecast_verb(
        laws, flops=flops, model_scale=model_scale, tokens=tokens, at=at, out=out, level=level,
        conditions=values(conditions, "--conditions"),
    )  # fmt: skip


def plan(
    common: Common,
    flops: Annotated[
        list[float] | None,
        typer.Option(
            "--flops",
            parser=number,
            metavar="C",
            help="Compute: M x tokens, by any laws (`forecast --flops` is 6 x N x tokens by laws in parameters).",
        ),
    ] = None,
    tokens: Annotated[
        list[float] | None, typer.Option("--tokens", parser=number, metavar="D", help="Tokens to train on.")
    ] = None,
    days: Annotated[
        list[float] | None, typer.Option("--days", parser=number, metavar="X", help="Needs --gpus and --device.")
    ] = None,
    minutes: Annotated[
        list[float] | None,
        typer.Option("--minutes", parser=number, metavar="X", help="On this machine, which is measured."),
    ] = None,
    money: Annotated[
        list[float] | None, typer.Option("--money", parser=number, metavar="X", help="Needs --price and --device.")
    ] = None,
    gpus: Annotated[
        list[int] | None, typer.Option("--gpus", parser=count, metavar="N", help="How many devices.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option("--device", metavar="NAME", help="H100, A100, ...")] = None,
    price: Annotated[
        float | None, typer.Option("--price", parser=number, metavar="P", help="For one device and one hour.")
    ] = None,
    utilisation: Annotated[
        float,
        typer.Option(
            "--utilisation",
            parser=fraction,
            metavar="SHARE",
            help="Of the peak rate, by a device that has work; what its layout makes it wait is counted besides.",
        ),
    ] = 0.4,
    laws: Annotated[
        list[str] | None,
        typer.Option(
            "--laws", metavar="PATH|NAME", help="Yours, or published ones (deepseek, chinchilla, kaplan, ...)."
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Fixes what its sections model and schedule name.")
    ] = None,
    shape: Annotated[
        list[str] | None, typer.Option("--shape", metavar="KEY=VALUE,...", help="Fixes parts of the model's shape.")
    ] = None,
    unique_tokens: Annotated[
        float | None,
        typer.Option("--unique-tokens", parser=number, metavar="U", help="Tokens there are; more are repeats."),
    ] = None,
    serve_tokens: Annotated[
        float | None,
        typer.Option("--serve-tokens", parser=number, metavar="T", help="Tokens it will serve in its life."),
    ] = None,
    sharding: ShardingOption = None,
    objective: ObjectiveOption = Objective.flops,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="PLAN", help="Kept plans (names, files, plans/) for the same table."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the plan there too.")] = None,
) -> Any:
    """One dial to shape, tokens, batch, learning rate, time, cost and a forecast.

    Dials, --gpus, --device and --laws may have several values: a plan for each combination, side by side, none kept.
    """
    from forescale.project.plans_verb import plan_or_plans

    return plan_or_plans(
        flops=flops, tokens=tokens, days=days, minutes=minutes, money=money, gpus=gpus, device=device, price=price,
        utilisation=utilisation, laws=laws, recipe=recipe, shape=values(shape, "--shape"),
        unique_tokens=unique_tokens, serve_tokens=serve_tokens, objective=objective.value, beside=beside or (),
        sharding=sharding.value if sharding else None, out=out, workspace=common.workspace, overrides=common.set,
    )  # fmt: skip


def compare(
    common: Common,
    corpora: Annotated[
        list[Path], typer.Argument(metavar="A B...", help="Run tables, ladders, or corpora to run ladders on.")
    ],
    validation: Annotated[
        list[Path] | None,
        typer.Option("--validation", metavar="DIR", help="Text from outside all corpora to score on; repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its folder: comparisons/NAME. Default: A-B-...")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="DIR", help="Use this one instead of training one on all.")
    ] = None,
    scale: ScaleOption = None,
    column: Columns = None,
    where: Where = None,
    group: Group = None,
    metric: MetricOption = None,
    executor: ExecutorOption = ExecutorKind.local,
    ray_address: RayAddress = None,
) -> Any:
    """Which corpus is better at which scale, and how surely; on text it runs the same small ladder for each."""
    from forescale.project.compare_verb import compare_verb
    from forescale.project.display import live_ladder

    with live_ladder() as progress:
        return compare_verb(
            corpora, validation=validation or [], name=name, tokenizer=tokenizer,
            **reading(scale, column, where, group, metric),
            project=lambda: common.project(executor, ray_address), progress=progress,
        )  # fmt: skip


def ledger(
    common: Common,
    digest: Annotated[
        str | None,
        typer.Option("--digest", metavar="SHA256", help="A published digest: a line must have it, else exit 4."),
    ] = None,
) -> Any:
    """Every forecast against its outcome; whether the chain is intact, and plans and records are as written."""
    from forescale.project.ledger_verb import ledger_verb
    from forescale.project.sealed_files import refusal

    view = ledger_verb(workspace=common.workspace, digest=digest)
    if view.chain_ok:
        return view.to_json() | {"error": refusal(view.changed).as_json()} if view.changed else view
    broken = ArtifactError(
        f"the ledger's chain is broken at line {view.broken_line}"
        if view.broken_line is not None
        else f"the published digest {digest} is in no line of the ledger",
        why="a line was edited, removed, moved or put in: the forecasts from there on prove nothing"
        if view.broken_line is not None
        else "lines were removed at its end, or all of it was written anew",
        remedy="restore the file from a copy, or move it away and begin a new ledger",
        line=view.broken_line,
    )
    return view.to_json() | {"error": broken.as_json()}  # printed whole, and exit 4


def watch(
    common: Common,
    run: Annotated[Path, typer.Argument(metavar="RUN|LOG", help="A run's folder, or a log of loss by step.")],
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="Follow this loss (loss=val_loss), or read step, lr or tokens from a column; repeatable. Default: the "
            "training loss where there is one.",
        ),
    ] = None,
    metric: MetricOption = None,
    level: LevelOption = 0.9,
    total_steps: Annotated[
        int | None, typer.Option("--total-steps", parser=count, metavar="N", help="Where the log does not tell.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME",
            help=f"The learning rate's, where the log does not tell: {SCHEDULES}. Default: all that fit so far.",
        ),
    ] = None,
) -> Any:
    """Forecast a running training's final loss from its curve so far."""
    from forescale.project.watch_verb import watch_verb

    return watch_verb(
        run,
        total_steps=total_steps,
        level=level,
        metric=metric.value if metric else None,
        columns=checked(column, "--column"),
        schedule=schedule,
        workspace=common.workspace,
    )


def example(
    common: Common,
    what: Annotated[Example, typer.Argument(metavar="runs|recipe")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
) -> Any:
    """An example table of runs, or a commented recipe."""
    from forescale.project import laws_verbs

    return laws_verbs.example_verb(what.value, out=out, force=common.force)
