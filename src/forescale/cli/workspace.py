"""Verbs to start with: make a workspace, check it, see the whole chain once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.cli.options import Common, number
from forescale.cli.verb import verb


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verb(app, "init", panel="Start")(init)
    verb(app, "check", panel="Start")(check)
    verb(app, "demo", panel="Start")(demo)


def init(
    common: Common, folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it does not exist.")]
) -> dict[str, Any]:
    """Make a workspace: a folder with a commented forescale.toml."""
    from forescale.project.init import init_workspace

    return init_workspace(folder, common.set, force=common.force)


def check(common: Common) -> dict[str, Any]:
    """Print the recipe and where each value came from, inputs, devices, disk and price. Runs nothing."""
    return common.project().check()


def demo(
    common: Common,
    minutes: Annotated[
        float, typer.Option("--minutes", parser=number, metavar="MINUTES", help="Time for ladder and target together.")
    ] = 8.0,
    text: Annotated[
        Path | None, typer.Option("--text", metavar="DIR", help="Your text; default: the documentation installed here.")
    ] = None,
    sft: Annotated[
        Path | None, typer.Option("--sft", metavar="FILE", help="Chat examples, JSONL with `messages`.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything drawn at random.")] = 0,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The demo's workspace.")] = Path("demo"),
) -> Any:
    """Text to a sealed forecast, the run that tests it, a small chat model and a report."""
    from forescale.project import demo as room

    return room.demo(minutes=minutes, text=text, sft=sft, seed=seed, out=out, overrides=common.set)
