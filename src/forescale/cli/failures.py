"""Every way a verb can end badly, in the contract's words and exit codes."""

from __future__ import annotations

import difflib
import errno
import json
import os
import sys
import traceback
from typing import Any

import typer

from forescale.base.errors import ConfigError, ForescaleError, InputError, MissingExtraError, SystemFailure

INTERRUPTED = 130

EXTRA_OF = {
    "torch": "train", "tokenizers": "train", "safetensors": "train", "plotly": "report", "matplotlib": "report",
    "jinja2": "report", "numba": "corpus", "zstandard": "corpus", "ray": "ray", "submitit": "slurm",
}  # fmt: skip
"""Which extra brings a module that is not in the bare package."""

UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What the parser raises; named through its public child, since it lives in a private module."""


class OurBug(ForescaleError):
    """An error that no user could have caused."""


class Interrupted(ForescaleError):
    """Ctrl-C: what was finished is kept."""

    exit_code = INTERRUPTED


def in_our_words(error: BaseException) -> ForescaleError:
    """Any exception as one of the tree: what, why, remedy, exit code."""
    if isinstance(error, ForescaleError):
        return error
    if isinstance(error, UsageError):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted", remedy="run the same command again: it goes on where it stopped")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRA_OF:
        module = (error.name or "").partition(".")[0]
        return MissingExtraError.of(EXTRA_OF[module], f"this verb uses {module}, which is not installed, and")
    if isinstance(error, OSError):
        return _operating_system(error)
    if isinstance(error, MemoryError):
        return SystemFailure("out of memory", remedy="close other programs, or make the run smaller")
    return OurBug(
        f"{type(error).__name__}: {error}",
        why="this is a fault in forescale, not in what you did",
        remedy="please report it with the output of the same command and --debug",
    )


def _operating_system(error: OSError) -> ForescaleError:
    file = error.filename if isinstance(error.filename, str) else None
    what = f"{error.strerror or error}" + (f": {file}" if file else "")
    if error.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR) and file:
        return InputError(what, remedy="check the path", file=file)
    return SystemFailure(
        what,
        why="nothing that was finished before is touched",
        remedy="free space or fix the permissions, then run the same command again",
        file=file,
    )


def _usage(error: Any) -> ConfigError:
    """The parser's refusal, with the nearest verb or option as remedy."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    if not error.format_message():
        return ConfigError(f"`{path_of(context)}` needs a verb", remedy=f"{path_of(context)} --help lists them")
    message = error.format_message().partition(" (Possible options")[0].partition(" Did you mean")[0].rstrip(".")
    path = path_of(context)
    remedy = f"{path} --help lists what there is"
    if option and context:
        known = [name for param in context.command.params for name in param.opts]
        remedy = _after_the_verb(str(option), context) or _nearest(str(option), known) or remedy
    elif message.startswith("No such command") and context:
        remedy = _nearest(message.split("'")[1], list(context.command.commands), path) or remedy
    return ConfigError(
        message[:1].lower() + message[1:], remedy=remedy, key=str(option).lstrip("-") if option else None
    )


def path_of(context: Any) -> str:
    """The verb as it was written."""
    return str(context.command_path) if context else "forescale"


def _nearest(word: str, known: list[str], path: str = "") -> str:
    """The likeliest meaning; of equally near ones the one with the same beginning (fti is fit, not sft)."""
    near = difflib.get_close_matches(word, known, n=5, cutoff=0.5)
    if not near:
        return ""
    best = max(near, key=lambda name: difflib.SequenceMatcher(None, word, name).ratio() + 0.1 * (name[:1] == word[:1]))
    return f"did you mean `{path + ' ' if path else ''}{best}`?"


def _after_the_verb(option: str, context: Any) -> str:
    common = ("--json", "--set", "--workspace", "--force", "--debug")
    at_top = context.parent is None
    return f"write {option} after the verb: forescale VERB {option}" if at_top and option in common else ""


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Print the failure (one JSON object, or three lines on standard error) and give its exit code."""
    told = in_our_words(error)
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        return _print_object({"error": told.as_json()}, told.exit_code)
    if told.exit_code == INTERRUPTED:
        print(f"\n{told}", file=sys.stderr)
    else:
        print(f"error: {told}", file=sys.stderr)
    return told.exit_code


def _print_object(data: dict[str, Any], code: int) -> int:
    """Print a failure's object; where even that fails, the failure's own code still counts, or 8 for a full disk."""
    try:
        print(json.dumps(data), flush=True)
    except BrokenPipeError:
        silence()
    except OSError as error:
        silence()
        print(f"error: {in_our_words(error)}", file=sys.stderr)
        return SystemFailure.exit_code
    return code


def silence() -> None:
    """Standard output leads nowhere from here on, so that the interpreter's last flush cannot fail."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
