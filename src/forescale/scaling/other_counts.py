"""One run on two rows, its size counted another way on each: refused, for no law holds in two units of size.

Parameters with the embeddings and without, the projections alone, all matrices: tables that compare such counts hold
each run (or each budget's best) once a count, at the same compute and very nearly the same loss.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ConfigError
from forescale.scaling.columns import normal, number, text_of, where_option
from forescale.scaling.sources import Row

Array = npt.NDArray[np.float64]

COUNTING = re.compile(
    r"^(n_)?(param|params|parameter|parameters|size|model_size)_(count|counting|counted|kind|type|def|definition"
    r"|convention|style|method)$|^(count|counting|counted)(_style|_method|_of|_as)?$"
)
"""Names of a column that says, in words, how the size is counted."""
SAME_LOSS, SAME_PLACE, OTHER_SIZE = 0.002, 0.01, 0.05
"""In logarithms: losses of one run (optima read off two curves differ by 0.15%), its compute or tokens, and sizes that
are two counts."""
FEWEST = 3
"""Rows of each count that it takes to see it."""
MOST_COUNTS = 8


def refuse_other_counts(
    rows: Sequence[Row], at: Sequence[int], names: Sequence[str], found: dict[str, str], size: Array, tokens: Array,
    loss: Array,
) -> None:  # fmt: skip
    """Exit 2 where a column splits the rows `at` by how their size is counted: by its name, or by its rows.

    `size`, `tokens`, `loss` [n] are those of the rows `at`.
    """
    known = set(found.values())
    place = _places(rows, at, found, tokens)
    for name in names:
        words = [text_of(rows[i].get(name)) for i in at]
        values = sorted(set(words) - {""})
        if not 1 < len(values) <= MOST_COUNTS or any(number(value) is not None for value in values):
            continue
        if name in known or not (COUNTING.match(normal(name)) or _told(np.array(words), size, place, loss)):
            continue
        raise ConfigError(
            f"the runs differ in how their size is counted: `{name}` is {', '.join(values)}",
            why="one run has another size in each, and no law holds in two units of size",
            remedy=f"choose with {where_option(name, values[0])}, or another of them",
            key=name,
        )


def _places(rows: Sequence[Row], at: Sequence[int], found: dict[str, str], tokens: Array) -> Array:
    """ln of what the runs of one budget share however they are counted: the table's own compute, else tokens."""
    column = next((found[name] for name in ("budget", "flops") if name in found), None)
    said = [number(rows[i].get(column)) if column else None for i in at]
    if all(value is not None and value > 0 for value in said):
        return np.log(np.array(said, dtype=float))
    return np.log(tokens)


def _told(words: npt.NDArray[np.str_], size: Array, place: Array, loss: Array) -> bool:
    """Whether every row has a row of another word at its compute and its loss, and of another size."""
    if min(int((words == word).sum()) for word in np.unique(words)) < FEWEST:
        return False
    x, y = np.log(size), np.log(loss)
    for i in range(len(words)):
        twin = (words != words[i]) & (np.abs(place - place[i]) < SAME_PLACE) & (np.abs(y - y[i]) < SAME_LOSS)
        if not (twin & (np.abs(x - x[i]) > OTHER_SIZE)).any() or (twin & (np.abs(x - x[i]) < SAME_PLACE)).any():
            return False
    return True
