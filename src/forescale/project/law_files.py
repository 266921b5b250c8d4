"""What `fit --out` writes beside laws.json: parameter draws, residuals, figures."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

from forescale.base.records.laws import Laws, RunRow
from forescale.scaling.table import RunTable

DRAW_COLUMNS = ("E", "A", "alpha", "B", "beta", "gamma")


def draws_parquet(laws: Laws) -> bytes:
    """One row a draw of the surface's parameters, in the laws' own units; no rows where there is no surface."""
    import pyarrow
    import pyarrow.parquet

    draws = laws.predictive.draws if laws.predictive else []
    columns = {name: [float(draw[place]) for draw in draws] for place, name in enumerate(DRAW_COLUMNS)}
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in DRAW_COLUMNS])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())


def residuals_csv(rows: list[RunRow]) -> bytes:
    """Every row of the run table: used or not and why, fitted, residual, and how far the forecast moves without it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(RunRow.model_fields), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in row.to_json().items()})
    return text.getvalue().encode()


def table_rows(table: RunTable) -> list[dict[str, Any]]:
    """The usable runs as rows of a run table, for drawing."""
    size = {"M": "flops_per_token", "N1": "params_non_embedding", "N2": "params"}[table.scale]
    loss = "bpb" if table.unit == "bpb" else "loss"
    columns = {
        size: table.size, "tokens": table.tokens, "flops": table.flops, loss: table.loss, "budget": table.budget,
        "lr": table.lr, "batch_tokens": table.batch_tokens,
    }  # fmt: skip
    return [
        {"run": table.run[k], **{name: float(values[k]) for name, values in columns.items()}} for k in range(len(table))
    ]


REPORT_NEEDS = ("plotly", "matplotlib", "jinja2")


def can_draw() -> bool:
    """Whether the `report` extra is there."""
    return all(importlib.util.find_spec(name) is not None for name in REPORT_NEEDS)


def figures(folder: Path, laws: Laws, table: RunTable) -> list[str]:
    """figures.html, and each figure as SVG and PNG; nothing without the `report` extra."""
    if not can_draw():
        return []
    from forescale.base.records.report import ReportData
    from forescale.report import page, static
    from forescale.report.laws_figures import all_figures

    rows = table_rows(table)
    page.write(ReportData(title="Scaling laws", command="forescale fit", laws=laws, runs=rows), folder / "figures.html")
    drawn = [path.name for figure in all_figures(laws, rows) for path in static.write(figure, folder / "figures")]
    return ["figures.html", *(f"figures/{name}" for name in drawn)]
