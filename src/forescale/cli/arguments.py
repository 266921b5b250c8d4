"""`--where a=1 b=2`: several values after one option, which the parser beneath takes one at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

KEY_VALUE = ("--column", "--where", "--conditions", "--set")
"""Options whose values are KEY=VALUE: following words of that form belong to them too."""

FOLDERS = ("--validation",)
"""Options that take every following word, once the verb has had its own words."""

PLAN = ("--flops", "--tokens", "--days", "--minutes", "--money", "--gpus", "--device", "--laws", "--beside")
"""Options of `plan`, which has no words of its own: all that follow one belong to it."""

_PAIR = re.compile(r"[A-Za-z_][\w.\- ]*=.+")


def _is_pair(word: str) -> bool:
    """KEY=VALUE, unless a file has that very name."""
    return bool(_PAIR.fullmatch(word)) and not Path(word).exists()


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values.

    >>> spread(["fit", "runs.csv", "--where", "a=1", "b=2", "--json"])
    ['fit', 'runs.csv', '--where', 'a=1', '--where', 'b=2', '--json']
    >>> spread(["compare", "a.csv", "b.csv", "--validation", "x", "y"])
    ['compare', 'a.csv', 'b.csv', '--validation', 'x', '--validation', 'y']
    >>> spread(["plan", "--flops", "1e20", "1e21", "--json"])
    ['plan', '--flops', '1e20', '--flops', '1e21', '--json']
    """
    taking = PLAN if arguments[:1] == ["plan"] else ()
    out: list[str] = []
    current, words = "", 0
    waiting = False
    for index, word in enumerate(arguments):
        if word == "--":
            return out + list(arguments[index:])
        if word in KEY_VALUE or word in FOLDERS or word in taking:
            current, waiting = word, True
            out.append(word)
        elif waiting:
            waiting = False
            out.append(word)
        elif word.startswith("-"):
            current = ""
            out.append(word)
        elif (current in KEY_VALUE and _is_pair(word)) or (current in FOLDERS and words > 1) or current in taking:
            out += [current, word]
        else:
            current, words = "", words + 1
            out.append(word)
    return out
