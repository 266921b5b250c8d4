"""`forescale`: every verb of the contract, each opened only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from forescale.cli import failures, ladder, laws, look, runs, text, workspace
from forescale.cli.arguments import spread

ROOMS = (workspace, text, laws, ladder, runs, look)
"""Each registers its verbs. A verb that is not built is not listed."""

EPILOG = "Options of every verb, written after it: --json, --set, --workspace, --force, --debug."


def build() -> typer.Typer:
    """The application with all verbs."""
    app = typer.Typer(
        name="forescale",
        help="Forecast, then scale: text and a budget to a language model, every choice measured and forecast.",
        epilog=EPILOG,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_top)
    for room in ROOMS:
        room.register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        import forescale

        typer.echo(f"forescale {forescale.__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.", show_default=False)
    ] = False,
) -> None:
    """Forecast, then scale: text and a budget to a language model, every choice measured and forecast."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code."""
    words = spread(sys.argv[1:] if arguments is None else arguments)
    command: Any = typer.main.get_command(build())
    try:
        code = command.main(args=words, prog_name="forescale", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit):  # the parser and rich end the process themselves when the reader went away
        failures.silence()
        return 0
    except typer.Abort:
        return failures.report(KeyboardInterrupt(), as_json="--json" in words, debug=False)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError" and "--json" not in words:
            return 2  # help was printed
        return failures.report(error, as_json="--json" in words, debug="--debug" in words)


if __name__ == "__main__":
    sys.exit(main())
