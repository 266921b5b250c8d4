"""ReportData: what the rooms made, gathered for one page. Whatever is missing is left out of the page."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from forescale.base.records.align import AlignRecord, PreferSummary
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.evaluation import EvalResult
from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws
from forescale.base.records.ledger import LedgerView
from forescale.base.records.plan import Plan
from forescale.base.records.record import Record
from forescale.base.records.run import RunRecord
from forescale.base.records.tokens import TokensSummary


class TrainingLog(Record):
    """The lines of one `log.jsonl`, with the run they belong to."""

    run: str
    path: str = ""
    rows: list[dict[str, Any]] = Field(default_factory=list)


class Sample(Record):
    """One answer of one model, shown word for word."""

    stage: str
    """Which model: pretrained, sft, dpo, or any name."""
    prompt: str
    answer: str
    ended: bool | None = None
    """Whether the model closed its answer itself; None: not known."""
    path: str = ""


class ReportData(Record):
    """Everything a report may show. Every field has an empty default: a bare fit has laws and rows only."""

    title: str = "forescale report"
    command: str = ""
    """The command that made it, to make it again."""
    version: str = ""
    made_at: str = ""
    machine: str = ""
    """Hardware in words."""
    seed: int | None = None
    corpus: CorpusSummary | None = None
    tokens: TokensSummary | None = None
    scored_tokens: int | None = None
    """Tokens of the validation split that every run is scored on: the same ones, at most train.validation_tokens."""
    runs: list[dict[str, Any]] = Field(default_factory=list)
    """Rows of the run table (RUN_COLUMNS)."""
    laws: Laws | None = None
    plan: Plan | None = None
    forecast: Forecast | None = None
    """Of the target, as sealed; None: the plan's own."""
    band: list[Forecast] = Field(default_factory=list)
    """Forecasts along compute, for the interval of the frontier; empty: asked of the laws."""
    target: RunRecord | None = None
    ledger: LedgerView | None = None
    align: list[AlignRecord] = Field(default_factory=list)
    """SFT and DPO, in order."""
    prefer: PreferSummary | None = None
    evaluations: dict[str, EvalResult] = Field(default_factory=dict)
    """By stage, in order: pretrained, sft, dpo."""
    samples: list[Sample] = Field(default_factory=list)
    logs: list[TrainingLog] = Field(default_factory=list)
    seconds: dict[str, float] = Field(default_factory=dict)
    """Time by phase, in order."""
    paths: dict[str, str] = Field(default_factory=dict)
    """Where things lie, relative to the report: keys `runs/NAME` or any of corpus, tokenizer, tokens, ladder, laws,
    plan, ledger, evals, chat_model."""

    @property
    def the_forecast(self) -> Forecast | None:
        """The forecast of the target: its own, or the plan's."""
        return self.forecast or (self.plan.forecast if self.plan else None)
