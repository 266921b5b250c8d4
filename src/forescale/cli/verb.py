"""What makes a function a verb: the common options, one JSON object, exit codes."""

from __future__ import annotations

import inspect
import json
import math
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import typer

from forescale.base.errors import ConfigError
from forescale.cli import failures
from forescale.cli.options import Common, common_options

F = TypeVar("F", bound=Callable[..., Any])


def verb(app: typer.Typer, name: str, *, panel: str = "", group: bool = False) -> Callable[[F], F]:
    """Register `function(common, ...) -> result` as a verb.

    The common options are added to its signature; its result (a record, a mapping, or None for a verb that printed
    for itself) is printed as JSON or by the table of the same name in `cli.tables`. `group`: the verb also has
    sub-verbs, and takes its own options only when none of them is named.
    """

    def register(function: F) -> F:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "common"]
        shared = list(inspect.signature(common_options, eval_str=True).parameters.values())
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        shared = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shared]
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

        def command(ctx: typer.Context, **given: Any) -> None:
            if ctx.invoked_subcommand is not None:
                _refuse_stray_options(ctx)
                return
            common = common_options(**{p.name: given.pop(p.name) for p in shared})
            code = run(lambda: function(common=common, **given), name, common)
            if code:
                raise typer.Exit(code)

        command.__signature__ = inspect.Signature([context, *own, *shared])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [context, *own, *shared]}
        command.__doc__ = function.__doc__
        if group:
            app.callback(invoke_without_command=True)(command)
        else:
            app.command(name.rpartition(" ")[2], rich_help_panel=panel or None)(command)
        return function

    return register


def _refuse_stray_options(ctx: typer.Context) -> None:
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            word = f"{ctx.command_path} {ctx.invoked_subcommand}"
            raise ConfigError(
                f"{parameter.opts[0]} stands before `{ctx.invoked_subcommand}`",
                remedy=f"write options after the verb: {word} {parameter.opts[0]} ...",
            )


def run(action: Callable[[], Any], name: str, common: Common) -> int:
    """Call the verb, print its result, and give the exit code."""
    try:
        with _standard_output_kept_clean(common.json):
            result = _result_of(action)
    except BrokenPipeError as error:
        if _reader_left():
            failures.silence()
            return 0
        return failures.report(error, as_json=common.json, debug=common.debug)
    except (Exception, KeyboardInterrupt) as error:
        return failures.report(error, as_json=common.json, debug=common.debug)
    try:
        problem = print_result(name, result, as_json=common.json)
        sys.stdout.flush()
        return problem
    except BrokenPipeError:  # the reader went away (`forescale ... | head`): no error
        failures.silence()
        return 0
    except OSError as error:
        failures.silence()
        return failures.report(error, as_json=False, debug=common.debug)


def _reader_left() -> bool:
    """Whether it is standard output that broke, and not a pipe between our own processes."""
    poll = select.poll()
    poll.register(_descriptor(sys.stdout), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _result_of(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except SystemExit as error:  # a library must not choose our exit code
        raise RuntimeError(f"something below ended the process with {error.code}") from error


def print_result(name: str, result: Any, *, as_json: bool) -> int:
    """One JSON object, or the verb's table; a result may carry an `error` of its own, whose code is given back."""
    if result is None:
        return 0
    data = plain(result)
    if not isinstance(data, dict):
        data = {"path": data}
    error = data.get("error")
    if as_json:
        print(json.dumps(data, ensure_ascii=False, allow_nan=False))
    else:
        from forescale.cli import tables

        tables.show(name, data)
    return int(error["code"]) if isinstance(error, dict) else 0


def plain(value: Any) -> Any:
    """Plain JSON values: records opened, numbers that are not finite as null."""
    if hasattr(value, "to_json"):
        value = value.to_json()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return plain(value.item())
    return str(value)


@contextmanager
def _standard_output_kept_clean(wanted: bool) -> Iterator[None]:
    """With --json whatever a room or a child process prints goes to standard error, by file descriptor too."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    owns_descriptor = _descriptor(sys.stdout) == 1
    kept = os.dup(1) if owns_descriptor else -1
    try:
        if owns_descriptor:
            os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if owns_descriptor:
            os.dup2(kept, 1)
            os.close(kept)


def _descriptor(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return -1
