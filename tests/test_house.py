"""The house: imports go down only, never sideways; and what no room may ever do. Read from the sources with ast."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "forescale"
LEVELS = {
    "cli": 9, "project": 8, "launch": 7, "worker": 6, "serve": 6, "prefer": 6, "evaluate": 5, "align": 4, "engine": 4,
    "train": 3, "report": 3, "exchange": 3, "corpus": 2, "tokens": 2, "scaling": 2, "model": 2, "base": 1,
}  # fmt: skip
"""Floor of every room."""

FACE = {"__init__", "__main__", "api"}
"""Files beside the rooms: the package's face, which opens rooms inside functions only."""

EXTRAS = {
    "torch",
    "numba",
    "plotly",
    "matplotlib",
    "tokenizers",
    "safetensors",
    "tiktoken",
    "ray",
    "submitit",
    "jinja2",
}
HEAVY = EXTRAS | {"numpy", "scipy", "pyarrow", "pydantic", "rich"}


def files(*rooms: str) -> list[Path]:
    """The files of some rooms, or of all."""
    paths = sorted(p for p in ROOT.rglob("*.py"))
    return [p for p in paths if not rooms or room_of(p) in rooms]


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere below, with its line; `from a import b` as a.b."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import on line {child.lineno}: write it absolute"
            yield from ((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)


def imports_on_load(module: ast.Module) -> Iterator[tuple[str, int]]:
    """What is imported when the module is: not inside functions, not for type checking only."""
    pending: list[ast.stmt] = list(module.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        elif isinstance(node, ast.If):
            typing_only = "TYPE_CHECKING" in ast.unparse(node.test)
            pending += node.orelse + ([] if typing_only else node.body)
        elif isinstance(node, ast.Try):
            pending += node.body + node.orelse + node.finalbody + [s for h in node.handlers for s in h.body]
        elif isinstance(node, ast.With | ast.ClassDef):
            pending += node.body


def room_named(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "forescale" and len(parts) > 1 and parts[1] in LEVELS else None


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_room_has_a_floor() -> None:
    unknown = {room_of(p) for p in files()} - LEVELS.keys() - FACE
    assert not unknown, f"no floor for {unknown}: say in LEVELS where it stands"


def test_imports_go_down_and_never_sideways() -> None:
    wrong = []
    for path in files():
        room = room_of(path)
        for name, line in imports(tree(path)):
            other = room_named(name)
            if room not in FACE and other not in (None, room) and LEVELS[str(other)] >= LEVELS[room]:
                wrong.append(f"{at(path, line)} ({LEVELS[room]}) imports {name} ({LEVELS[str(other)]})")
    report(wrong)


def test_no_circles_between_files() -> None:
    modules = {module_name(p): p for p in files()}
    edges = {name: dependencies(path, modules) for name, path in modules.items()}
    state: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if state.get(name) == "done":
            return
        assert name not in trail, "a circle: " + " -> ".join([*trail[trail.index(name) :], name])
        for other in edges[name]:
            visit(other, (*trail, name))
        state[name] = "done"

    for name in modules:
        visit(name, ())


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT.parent).with_suffix("")
    return ".".join(part for part in relative.parts if part != "__init__")


def dependencies(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of the package that this file needs to be loaded, packages' own files left out."""
    found: set[str] = set()
    for name, _ in imports_on_load(tree(path)):
        while name and name not in modules:
            name = name.rpartition(".")[0]
        if name and name != module_name(path) and name != "forescale":
            found.add(name)
    return found


def test_no_star_imports() -> None:
    report([at(path, line) for path in files() for name, line in imports(tree(path)) if name.endswith(".*")])


def test_the_model_knows_nothing_of_distribution() -> None:
    report([ids(path) for path in files("model") if "torch.distributed" in code(path)])


def test_the_bare_package_has_no_extra() -> None:
    report(
        [
            f"{at(path, line)} imports {name}"
            for path in files("scaling", "base")
            for name, line in imports(tree(path))
            if name.partition(".")[0] in EXTRAS
        ]
    )


def test_only_launch_names_the_ways_to_start_processes() -> None:
    ways = (
        "ray",
        "submitit",
        "multiprocessing",
        "concurrent.futures",
        "torch.distributed.run",
        "torch.distributed.launch",
    )
    wrong = []
    for path in files():
        if room_of(path) == "launch":
            continue
        for name, line in imports(tree(path)):
            if any(name == way or name.startswith(way + ".") for way in ways):
                wrong.append(f"{at(path, line)} imports {name}")
        if "torch.distributed.run" in code(path):
            wrong.append(f"{ids(path)} starts ranks")
    report(wrong)


def test_only_the_artifact_file_touches_manifests() -> None:
    report([ids(path) for path in files() if ids(path) != "base/artifact.py" and "manifest.json" in code(path)])


def test_readers_of_weights_never_import_train() -> None:
    report(
        [
            at(path, line)
            for path in files("engine", "evaluate", "serve")
            for name, line in imports(tree(path))
            if room_named(name) == "train"
        ]
    )


def test_the_environment_is_read_in_one_place() -> None:
    """base/runtime.py reads it; launch sets the environment of the children it starts; nobody else names it."""
    names = ("os.environ", "os.getenv", "os.putenv")
    report(
        [
            at(path, node.lineno)
            for path in files()
            if ids(path) != "base/runtime.py" and room_of(path) != "launch"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in names
        ]
    )


def test_the_doors_open_rooms_lazily() -> None:
    """Typer alone is loaded with the command line; the printing files are opened when there is a result."""
    printers = {
        "cli/grid.py",
        "cli/tables.py",
        "cli/ladder_tables.py",
        "cli/law_tables.py",
        "cli/left_out.py",
        "cli/plan_columns.py",
        "cli/docs.py",
    }
    wrong = []
    for path in files("cli", *FACE):
        for name, line in imports_on_load(tree(path)):
            heavy = name.partition(".")[0] in HEAVY and ids(path) not in printers
            room = room_named(name) not in (None, "cli") and not name.startswith("forescale.base.errors")
            if heavy or (room and ids(path) not in printers):
                wrong.append(f"{at(path, line)} imports {name}")
    report(wrong)


def test_the_project_opens_extras_lazily() -> None:
    wrong = []
    for path in files("project"):
        for name, line in imports_on_load(tree(path)):
            extra = name.partition(".")[0] in EXTRAS
            if extra or room_named(name) not in (None, "project", "base", "scaling"):
                wrong.append(f"{at(path, line)} opens {name} on load")
    report(wrong)


def test_nothing_happens_on_import() -> None:
    """At the top of a file: definitions and constants; never a bare call but the `sys.exit` of `__main__`."""
    report(
        [
            f"{at(path, node.lineno)}: {ast.unparse(node)}"
            for path in files()
            if path.stem != "__main__"
            for node in tree(path).body
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ]
    )


def test_every_file_and_public_name_says_what_it_is() -> None:
    """Files by their first paragraph, a sentence; public definitions are held by ruff's D1."""
    wrong = []
    for path in files():
        first = (ast.get_docstring(tree(path)) or "").partition("\n\n")[0].rstrip()
        if not first.endswith((".", ":", "?", "!")):
            wrong.append(f"{ids(path)}: {first or 'no docstring'!r}")
    report(wrong)


def test_files_and_functions_stay_readable() -> None:
    """Somewhat above the style's 350 and 60 lines, so that the last comma is no reason to split a thing."""
    wrong = []
    for path in files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 430:
            wrong.append(f"{ids(path)} has {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 80:
                wrong.append(f"{at(path, node.lineno)} {node.name} has {(node.end_lineno or 0) - node.lineno} lines")
    report(wrong)


def test_the_rules_can_fail() -> None:
    """The reader sees imports in functions, tells lazy from eager ones, and leaves docstrings out."""
    source = '"""manifest.json"""\nimport a\nif TYPE_CHECKING:\n    import b\ndef f():\n    from c import d\n'
    module = ast.parse(source)
    assert [name for name, _ in imports(module)] == ["a", "b", "c.d"]
    assert [name for name, _ in imports_on_load(module)] == ["a"]
    assert room_named("forescale.scaling.fit") == "scaling"
    assert room_named("forescale.unknown") is None


def report(wrong: list[str]) -> None:
    assert not wrong, "\n" + "\n".join(wrong)


def at(path: Path, line: int) -> str:
    return f"{ids(path)}:{line}"


def code(path: Path) -> str:
    """The file without docstrings and comments."""
    module = tree(path)
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [s for s in node.body if not _is_text(s)] or [ast.Pass()]
    return ast.unparse(module)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
