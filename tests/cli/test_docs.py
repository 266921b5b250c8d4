"""Documentation that cannot lie: generated pages are fresh, every key and option has words, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forescale.cli import docs
from forescale.project.recipe_text import keys, section_words

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["cli.md", "config.md", "map.md"])
def test_generated_pages_are_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == docs.pages()[name], "make docs writes it anew"


def test_every_key_of_the_recipe_has_words() -> None:
    assert not [key.path for key in keys() if not key.words]
    assert not [key.section for key in keys() if not section_words(key.section)]


def test_every_verb_and_option_has_words() -> None:
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in docs.verbs()
        for parameter in docs.options(command)
        if docs.is_option(parameter) and not parameter.help
    ]
    assert not silent
    assert not [name for name, command in docs.verbs() if not command.help]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not dead


def test_decisions_are_numbered_once_and_short() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in files]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name) for path in files)
    assert not [path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 40]
