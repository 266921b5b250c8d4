"""Colours by meaning, for light and for dark paper. Figures carry tokens (`@main`, `@main/0.2`, `@3:8`).

Ordered scales are viridis' anchors, cut where they would vanish on the paper. Roles are told apart without hue too:
by mark and by dash.
"""

from __future__ import annotations

from typing import Any, Final

from forescale.report.figure import Role

THEMES: Final[dict[str, dict[str, Any]]] = {
    "light": {
        "paper": "#ffffff", "ink": "#1c2230", "muted": "#8a93a3", "line": "#e3e7ee",
        "main": "#2f5fd0", "accent": "#c2410c", "good": "#15803d", "bad": "#b91c1c",
        "order": ["#7ac74f", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878", "#440154"],
        "heat": ["#1e3a8a", "#3b6fd8", "#8fb2ee", "#cfdcf3", "#edf1f8"],
    },
    "dark": {
        "paper": "#161a22", "ink": "#e7eaf0", "muted": "#8b95a7", "line": "#2b313d",
        "main": "#7ea6ff", "accent": "#fb923c", "good": "#4ade80", "bad": "#f87171",
        "order": ["#5566b0", "#4484ac", "#33a0a3", "#2bb58c", "#48c878", "#7bd860", "#b5de2b", "#fde725"],
        "heat": ["#bcd2ff", "#7ea6ff", "#4a6fc2", "#33466f", "#252c3a"],
    },
}  # fmt: skip


def token(role: Role, of: int = 1, alpha: float | None = None) -> str:
    """The token of a role; for a place on the ordered scale, `of` is how many there are."""
    name = f"{role}:{of}" if isinstance(role, int) else role
    return f"@{name}" if alpha is None else f"@{name}/{alpha}"


def resolve(text: str, theme: str = "light") -> str:
    """A token as a colour of a theme: `#rrggbb`, or `rgba(...)` where it is see-through."""
    name, _, alpha = text.removeprefix("@").partition("/")
    palette = THEMES[theme]
    if ":" in name:
        place, _, of = name.partition(":")
        colour = _between(palette["order"], int(place) / max(1, int(of) - 1))
    else:
        colour = str(palette[name])
    if not alpha:
        return colour
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _between(anchors: list[str], at: float) -> str:
    position = min(max(at, 0.0), 1.0) * (len(anchors) - 1)
    low = min(int(position), len(anchors) - 2)
    share = position - low
    mixed = [
        round((1 - share) * int(anchors[low][i : i + 2], 16) + share * int(anchors[low + 1][i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in mixed)
