"""Tables in docs/laws.md, each between its own markers."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("docs/laws.md")


def write(name: str, lines: list[str], page: Path = PAGE) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{page} has no marker {name}")
    block = "\n".join(lines)
    page.write_text(pattern.sub(lambda m: f"{m[1]}{block}\n{m[2]}", text), encoding="utf-8")
