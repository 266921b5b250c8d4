"""Verbs that train and tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.cli.options import Common, count
from forescale.cli.verb import verb

FromRun = Annotated[str, typer.Option("--from", metavar="RUN", help="The run to start from.")]


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verb(app, "pretrain", panel="Train")(pretrain)
    verb(app, "sft", panel="Train")(sft)
    verb(app, "dpo", panel="Train")(dpo)
    verb(app, "prefer", panel="Train")(prefer)


def pretrain(
    common: Common,
    plan: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="A plan's name or file; default: the workspace's newest.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", parser=count, metavar="N", help="Ranks on this machine. Default: [parallel] data."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the run and its forecast; seal and train nothing.", show_default=False),
    ] = False,
    extend: Annotated[str | None, typer.Option("--extend", metavar="RUN", help="Go on with a finished run.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", parser=count, metavar="NEW_TOTAL", help="With --extend: tokens in all.")
    ] = None,
) -> Any:
    """Seal the plan's forecast, then train it."""
    if (extend is None) != (tokens is None):
        raise typer.BadParameter("--extend RUN and --tokens NEW_TOTAL go together")
    if extend is not None and plan is not None:
        raise typer.BadParameter("give a PLAN or --extend RUN, not both")
    return common.project().pretrain(plan, processes=processes, dry_run=dry_run, extend=extend, tokens=tokens)


def sft(
    common: Common,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="JSONL with `messages`.")],
    from_: FromRun,
) -> Any:
    """Tune a run on chat examples, with the loss on answers only."""
    return common.project().sft(data, from_=from_)


def dpo(
    common: Common,
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="JSONL with prompt, chosen, rejected.")],
    from_: FromRun,
) -> Any:
    """Tune a run on preference pairs."""
    return common.project().dpo(pairs, from_=from_)


def prefer(
    common: Common,
    prompts: Annotated[Path, typer.Argument(metavar="PROMPTS", help="JSONL with a prompt or messages a line.")],
    from_: FromRun,
) -> Any:
    """Sample answers, rank them, and write preference pairs."""
    return common.project().prefer(prompts, from_=from_)
