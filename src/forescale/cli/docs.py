"""docs/cli.md, docs/config.md and docs/map.md, written from the sources: `python -m forescale.cli.docs [FOLDER]`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from forescale.cli.main import build

NOTE = "<!-- Written by `make docs` from the sources; a test holds it to them. Edit the sources. -->\n"
COMMON = ("--json", "--set", "--workspace", "--force", "--debug")


def verbs() -> Iterator[tuple[str, Any]]:
    """Every verb with its name, sub-verbs too, in the order of `--help`."""
    root: Any = typer.main.get_command(build())
    for name, command in root.commands.items():
        sub = getattr(command, "commands", {})
        if not sub or command.invoke_without_command:
            yield name, command
        for inner, verb in sub.items():
            yield f"{name} {inner}", verb


def options(command: Any) -> list[Any]:
    """A verb's parameters without `--help`."""
    return [p for p in command.params if "--help" not in p.opts]


def is_option(parameter: Any) -> bool:
    """Whether it is an option, not an argument."""
    return bool(parameter.opts[0].startswith("-"))


def default_of(parameter: Any) -> str:
    """A default as the documentation prints it; empty for none."""
    value = parameter.default
    if value is None or value is ... or value is False or callable(value) or type(value).__name__ == "Sentinel":
        return ""
    return str(getattr(value, "value", value))


def cli_page() -> str:
    """Every verb with its words, arguments and options."""
    lines = ["# Command line", "", NOTE]
    lines += ["Options of every verb, written after it:", ""]
    found = dict(verbs())
    common = {p.opts[0]: p for p in options(found["fit"]) if p.opts[0] in COMMON}
    lines += [_option_line(common[name]) for name in COMMON]
    lines += ["", "Exit codes: 0 fine, 1 our own bug, 2 usage or recipe, 3 input data, 4 artifact damaged or missing,"]
    lines += ["5 layout, 6 diverged, 7 a missing extra, 8 disk or operating system, 130 interrupted (resumable)."]
    lines += ["Counts may be written as 2e12, shares as 1% or 0.01. Several KEY=VALUE may follow one option."]
    for name, command in found.items():
        words = " ".join(str(command.help or "").split())
        parameters = [p for p in options(command) if p.opts[0] not in COMMON]
        arguments = [_argument(p) for p in parameters if not is_option(p)]
        lines += ["", f"## {name}", "", f"    forescale {' '.join([name, *arguments])} [options]", "", words, ""]
        lines += [_option_line(p) for p in parameters if not is_option(p) and p.help]
        lines += [_option_line(p) for p in parameters if is_option(p)]
    return "\n".join(lines).rstrip() + "\n"


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option_line(parameter: Any) -> str:
    flag = bool(getattr(parameter, "is_flag", False))
    word = parameter.metavar or ""
    if not is_option(parameter):
        name = f"`{_argument(parameter)}`"
    else:
        name = f"`{parameter.opts[0]}" + (f" {word}`" if not flag else "`")
    notes = [parameter.help or "", "Required." if parameter.required and is_option(parameter) else ""]
    default = default_of(parameter)
    notes.append(f"Default {default}." if default and is_option(parameter) else "")
    words = " ".join(note for note in notes if note)
    return f"- {name}" + (f": {words}" if words else "")


def config_page() -> str:
    """Every key of the recipe with type, default, range and words."""
    from forescale.project.recipe_text import keys, section_words, toml_value

    lines = ["# The recipe: forescale.toml", "", NOTE]
    lines += [
        "Defaults < `forescale.toml` < `--set section.key=value`. Unknown keys are refused with the nearest valid"
    ]
    lines += ["one. `forescale check` prints what holds and where each value came from."]
    section = ""
    for key in keys():
        if key.section != section:
            section = key.section
            lines += ["", f"## [{section}]", "", section_words(section), ""]
            lines += ["| key | type | default | range | |", "| --- | --- | --- | --- | --- |"]
        default = "unset" if key.default is None else f"`{toml_value(key.default)}`"
        kind, limits = key.kind.replace("|", "or"), key.limits or "–"
        lines.append(f"| `{key.name}` | {kind} | {default} | {limits} | {key.words.replace('|', 'or')} |")
    return "\n".join(lines) + "\n"


def map_page(package: Path) -> str:
    """One line a file: the first sentence of its docstring."""
    lines = ["# Map of the code", "", NOTE]
    lines += ["Imports go down only (`tests/test_house.py` holds it): cli > project > launch > worker, serve, prefer >"]
    lines += ["evaluate > align, engine > train, report, exchange > corpus, tokens, scaling, model > base."]
    room = None
    for path in sorted(package.rglob("*.py"), key=lambda p: (len(p.relative_to(package).parts) > 1, str(p))):
        relative = path.relative_to(package)
        here = relative.parts[0] if len(relative.parts) > 1 else "forescale"
        words = " ".join(
            (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split()
        )
        if here != room:
            room = here
            lines += ["", f"## {room}/" if room != "forescale" else "## forescale", ""]
        if path.name == "__init__.py" and len(relative.parts) == 2:
            lines += [words, ""]
        else:
            lines.append(f"- `{relative}`: {words}")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Name -> text of every generated page."""
    package = Path(__file__).parents[1]
    return {"cli.md": cli_page(), "config.md": config_page(), "map.md": map_page(package)}


def main(arguments: list[str]) -> int:
    """Write the pages into a folder, by default docs/ of this checkout."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parents[3] / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
