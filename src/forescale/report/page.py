"""The report: one HTML file that loads nothing from anywhere. Also the figures of a bare fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forescale.base.errors import MissingExtraError
from forescale.base.files import write_atomic
from forescale.base.records.laws import Laws
from forescale.base.records.report import ReportData
from forescale.report import law_sections, static, story_sections
from forescale.report.colours import THEMES
from forescale.report.interactive import as_script, plotly_source
from forescale.report.laws_figures import all_figures, band_of
from forescale.report.rows import read
from forescale.report.section import Section

TEMPLATES = Path(__file__).parent / "templates"


def write(data: ReportData, out: Path) -> Path:
    """The page at `out` (a folder: its index.html), whole or not at all. What `data` lacks is left out."""
    path = out if out.suffix in (".html", ".htm") else out / "index.html"
    write_atomic(path, html(data).encode())
    return path


def html(data: ReportData) -> str:
    """The page as text."""
    try:
        from jinja2 import Environment, FileSystemLoader
    except ImportError:
        raise MissingExtraError.of("report", "the report") from None
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["as_script"] = as_script
    return environment.get_template("page.html").render(
        data=data,
        headline=story_sections.headline(data),
        sections=sections(data),
        themes=json.dumps(THEMES, separators=(",", ":")),
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
        plotly=plotly_source(),
    )


def sections(data: ReportData) -> list[Section]:
    """The page's sections, in the order of the story; those without data are left out."""
    laws = data.laws or Laws()
    runs = read(data.runs, scale=laws.scale, unit=laws.unit, paths=data.paths)
    told = (
        story_sections.corpus(data),
        story_sections.tokenizer(data),
        law_sections.ladder(data, runs),
        law_sections.laws(data, runs),
        law_sections.plan(data),
        law_sections.forecast(data, runs, data.band or band_of(data.laws, runs, data.the_forecast)),
        story_sections.training(data),
        story_sections.tuning(data),
        story_sections.evaluation(data),
        story_sections.samples(data),
        story_sections.ledger(data),
        story_sections.time(data),
    )
    return [section for section in told if section is not None]


def fit_figures(laws: Laws, rows: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """For `fit --out`: `figures/NAME.svg` and `.png` of every figure these laws can fill, and `figures.html`."""
    runs = read(rows, scale=laws.scale, unit=laws.unit)
    band = band_of(laws, runs, None)
    written: list[Path] = []
    for figure in all_figures(laws, rows, band=band):
        written += static.write(figure, out / "figures")
    data = ReportData(title="Fitted laws", laws=laws, runs=[dict(row) for row in rows], band=band)
    return [*written, write(data, out / "figures.html")]
