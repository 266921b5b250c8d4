"""`init`: a workspace is a folder with a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forescale.base.config import load_recipe
from forescale.base.errors import ConfigError
from forescale.base.files import write_atomic
from forescale.project.recipe_text import commented_recipe
from forescale.project.workspace import RECIPE_FILE


def init_workspace(folder: Path, overrides: Sequence[str] = (), *, force: bool = False) -> dict[str, Any]:
    """Write a commented recipe into `folder`, with the overrides set; an existing one is kept unless `force`."""
    path = folder / RECIPE_FILE
    if path.exists() and not force:
        raise ConfigError(
            f"{path} is there already",
            why="it may hold your settings",
            remedy="edit it, or --force to write a fresh one",
            file=path,
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", remedy="name a folder", file=folder)
    recipe, origin = load_recipe(None, overrides)
    settings: dict[str, dict[str, Any]] = {}
    for key in origin:
        section, _, name = key.partition(".")
        settings.setdefault(section, {})[name] = getattr(getattr(recipe, section), name)
    write_atomic(path, commented_recipe(settings).encode())
    return {
        "workspace": str(folder),
        "recipe": str(path),
        "set": sorted(origin),
        "next": [f"put folders of text under [corpus] sources in {path}", f"forescale check --workspace {folder}"],
    }
