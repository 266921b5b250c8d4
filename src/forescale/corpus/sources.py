"""Python sources by parsing, never by importing: each object's name, how it is called, what it says of itself."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator
from typing import NamedTuple

_DOC_CALLS = frozenset({"add_newdoc", "add_docstr", "add_newdoc_for_scalar_type"})
"""Functions that attach documentation to compiled objects (numpy, torch)."""


class Described(NamedTuple):
    """One docstring and the object it describes."""

    kind: str
    """module, class, function, method, or call (attached by a function such as `add_newdoc`)."""
    name: str
    """Dotted name inside the module; empty for the module itself."""
    signature: str | None
    """`name(arguments)` without annotations; None where there are no arguments to show."""
    docstring: str


def describe(source: str) -> Iterator[Described]:
    """Every docstring of a module in the order of the file.

    Raises SyntaxError or ValueError for what is no Python of this version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's files
        tree = ast.parse(source)
    text = ast.get_docstring(tree)
    if text:
        yield Described("module", "", None, text)
    yield from _walk(tree.body, "", in_class=False)


def _walk(body: list[ast.stmt], prefix: str, in_class: bool) -> Iterator[Described]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            name = prefix + node.name
            text = ast.get_docstring(node)
            if text:
                yield Described("class", name, _class_signature(node), text)
            yield from _walk(node.body, name + ".", in_class=True)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                kind = "method" if in_class else "function"
                yield Described(kind, prefix + node.name, _signature(node, node.name, in_class), text)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _attached(node.value)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _walk(node.body, prefix, in_class)
            yield from _walk(getattr(node, "orelse", []), prefix, in_class)


def _attached(call: ast.Call) -> Iterator[Described]:
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if called not in _DOC_CALLS:
        return
    for argument in call.args[1:]:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 80:
                yield Described("call", "", None, inspect.cleandoc(node.value))


def _class_signature(node: ast.ClassDef) -> str | None:
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return _signature(child, node.name, drop_first=True)
    return None


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, drop_first: bool) -> str | None:
    """`name(a, b=1, *, c=None)`; None when it would be longer than 100 characters."""
    arguments = node.args
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    if any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pieces = [_argument(a.arg, d) for a, d in zip(positional, [*defaults, *arguments.defaults], strict=True)]
    if drop_first and not static:
        pieces = pieces[1:]
    if arguments.vararg:
        pieces.append("*" + arguments.vararg.arg)
    elif arguments.kwonlyargs:
        pieces.append("*")
    pieces += [_argument(a.arg, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        pieces.append("**" + arguments.kwarg.arg)
    text = f"{name}({', '.join(pieces)})"
    return text if len(text) <= 100 else None


def _argument(name: str, default: ast.expr | None) -> str:
    if default is None:
        return name
    if isinstance(default, ast.Constant):
        return f"{name}={default.value!r}"
    if isinstance(default, ast.Name):
        return f"{name}={default.id}"
    return f"{name}=..."
