"""Several outside sets: a run table and an order of the corpora for each, beside those of all sets together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forescale.base.records.compare import SetOrder
from forescale.base.records.run import RunRecord
from forescale.project.ladder import append_rows

FOLDER = "sets"


def write_set_tables(ladder: Path, records: Sequence[RunRecord]) -> None:
    """`sets/SET.csv`: the runs as that set alone scores them. Its bigram entropy is unknown, and left out."""
    names = sorted({name for record in records for name in record.validation_sets})
    for name in names:
        table = ladder / FOLDER / f"{name}.csv"
        table.unlink(missing_ok=True)
        table.parent.mkdir(exist_ok=True)
        append_rows(table, [_scored_on(name, record) for record in records])


def _scored_on(name: str, record: RunRecord) -> RunRecord:
    update: dict[str, Any] = {"validation": record.validation_sets.get(name), "bigram_bpb": None}
    return record.model_copy(update=update | {"validation_id": f"{record.validation_id}-{name}"})


def orders(
    tables: Mapping[str, Path], budgets: Sequence[float], unique: Mapping[str, float], **reading: Any
) -> dict[str, SetOrder]:
    """The order of the corpora on each set that all of them were scored on by itself; none where there was one set.

    `tables`: corpus -> its run table on all sets together, beside which the others lie. `unique`: its tokens.
    """
    from forescale.scaling.compare import compare
    from forescale.scaling.paired import with_pairs

    folders = [table.parent / FOLDER for table in tables.values()]
    common = set.intersection(*({path.stem for path in folder.glob("*.csv")} for folder in folders))
    found = {}
    for name in sorted(common):
        own = {corpus: table.parent / FOLDER / f"{name}.csv" for corpus, table in tables.items()}
        made = with_pairs(compare(own, budgets=budgets, unique=unique, **reading), own, reading.get("metric"))
        found[name] = SetOrder(
            better=made.better,
            exponents=made.exponents,
            crossings=made.crossings,
            paired=made.paired,
            trends=made.trends,
            tables={corpus: str(table) for corpus, table in own.items()},
            warnings=made.warnings,
        )
    return found
