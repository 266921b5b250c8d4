"""The recipe in words: every key with its default, range and docstring, read from the schema itself."""

from __future__ import annotations

import json
import textwrap
import typing
from dataclasses import dataclass
from typing import Any

from forescale.base.config import Recipe, Section

HEAD = """# forescale.toml: the recipe of this workspace.
# Every key is shown with its default, commented out: take the `#` away to set it.
# Precedence: these defaults < this file < --set section.key=value. `forescale check` prints what holds.
"""


@dataclass(frozen=True)
class Key:
    """One key of the recipe as its schema describes it."""

    section: str
    name: str
    kind: str
    """Type in words."""
    default: Any
    limits: str
    """Range in words; empty: any value of the type."""
    words: str
    """Its docstring."""

    @property
    def path(self) -> str:
        """section.key."""
        return f"{self.section}.{self.name}"


def section_words(section: str) -> str:
    """A section's docstring."""
    return _one_line(_section_type(section).__doc__ or "")


def keys() -> list[Key]:
    """All keys in the schema's order."""
    return [
        Key(
            section,
            name,
            _kind(field.annotation),
            field.get_default(call_default_factory=True),
            _limits(field.metadata),
            _one_line(field.description or ""),
        )
        for section in Recipe.model_fields
        for name, field in _section_type(section).model_fields.items()
    ]


def commented_recipe(settings: dict[str, dict[str, Any]] | None = None) -> str:
    """A forescale.toml with every key explained; those in `settings` set, the others commented out."""
    settings = settings or {}
    lines = [HEAD.rstrip()]
    for section in Recipe.model_fields:
        lines += ["", f"[{section}]", *_comment(section_words(section))]
        for key in (k for k in keys() if k.section == section):
            lines += ["", *_comment(" ".join(part for part in (key.words, _note(key)) if part))]
            if key.name in settings.get(section, {}):
                lines.append(f"{key.name} = {toml_value(settings[section][key.name])}")
            else:
                lines.append(f"# {key.name} = {'' if key.default is None else toml_value(key.default)}".rstrip())
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML writes it.

    >>> toml_value([1e12, 3]), toml_value(True), toml_value("a")
    ('[1000000000000.0, 3]', 'true', '"a"')
    """
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _section_type(section: str) -> type[Section]:
    annotation = Recipe.model_fields[section].annotation
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return annotation


def _kind(annotation: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "unset"}
    if annotation in names:
        return names[annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(str(argument) for argument in arguments)
    if typing.get_origin(annotation) is list:
        return f"list of {_kind(arguments[0])}"
    return " | ".join(_kind(argument) for argument in arguments)


def _limits(metadata: list[Any]) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return ", ".join(
        f"{sign} {getattr(item, name)}" for item in metadata for name, sign in signs.items() if hasattr(item, name)
    )


def _note(key: Key) -> str:
    return f"({key.kind}{', ' + key.limits if key.limits else ''})"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, width=110, initial_indent="# ", subsequent_indent="# ")


def _one_line(text: str) -> str:
    return " ".join(text.split())
