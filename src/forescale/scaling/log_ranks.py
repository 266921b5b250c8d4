"""The prefix that torchrun puts before a rank's lines (`[rank0]:`, `[default0]:`), taken off; one rank is followed."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"^\[[A-Za-z_]*(\d+)\]:")
_LOSS = re.compile(r"loss\S*\s*[:=]?\s*[-+]?\d", re.IGNORECASE)


def one_rank(text: str) -> tuple[str, list[str]]:
    """The lines of the lowest rank that logs a loss, with those that no rank wrote, and what is to be said of it.

    >>> one_rank("starting\\n[rank0]:step: 1 loss: 5.0\\n[rank1]:step: 1 loss: 5.1\\n")[0]
    'starting\\nstep: 1 loss: 5.0\\n'
    """
    lines = text.splitlines(keepends=True)
    whose = [int(match[1]) if (match := _PREFIX.match(line)) else None for line in lines]
    ranks = sorted({rank for rank in whose if rank is not None})
    if not ranks:
        return text, []
    with_loss = sorted({r for r, line in zip(whose, lines, strict=True) if r is not None and _LOSS.search(line)})
    followed = (with_loss or ranks)[0]
    kept = [_PREFIX.sub("", line) for r, line in zip(whose, lines, strict=True) if r in (None, followed)]
    said = f"{len(with_loss)} ranks log a loss ({', '.join(map(str, with_loss))}): rank {followed}'s is followed"
    return "".join(kept), [said] if len(with_loss) > 1 else []
