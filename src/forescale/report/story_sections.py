"""Sections on everything around the laws: headline, corpus, tokenizer, training, tuning, evaluation, ledger, time."""

from __future__ import annotations

from dataclasses import dataclass

from forescale.base.records.align import AlignRecord
from forescale.base.records.loss import LossSum
from forescale.base.records.report import ReportData
from forescale.base.records.tokens import TokensSummary
from forescale.report import story_figures as draw
from forescale.report.figure import number, percent, thousands
from forescale.report.law_sections import REGIMES
from forescale.report.laws_figures import outcome_of
from forescale.report.rows import UNITS
from forescale.report.section import Cell, Exchange, Fact, Link, Section, drawn, file_link, only, span, table

STAGES = {"pretrained": "Pretrained", "pretrain": "Pretrained", "sft": "After SFT", "dpo": "After DPO"}
_MOST_SOURCES = 15


@dataclass(frozen=True)
class Gauge:
    """The interval as a bar, with forecast and outcome on it; places in percent of its width."""

    low: str
    high: str
    left: float
    right: float
    forecast: float
    outcome: float | None


@dataclass(frozen=True)
class Headline:
    """The first thing on the page."""

    verdict: str
    tone: str
    facts: tuple[Fact, ...]
    gauge: Gauge | None


def headline(data: ReportData) -> Headline | None:
    """Forecast, interval, outcome, error, inside or not, extrapolation, regime."""
    found = data.the_forecast
    if found is None:
        return None
    unit = UNITS[found.unit]
    actual = outcome_of(data.target, found.unit)
    level = percent(found.level, 0)
    interval = found.interval
    inside = None if actual is None or interval is None else interval[0] <= actual <= interval[1]
    error = None if actual is None else found.loss / actual - 1
    beyond = found.extrapolation.flops
    words = f"Forecast {number(found.loss)} {unit}"
    words += f", {level} interval {span(interval)}." if interval else ", without an interval."
    if actual is not None:
        words += f" The run ended at {number(actual)}"
        words += "." if inside is None else (": inside." if inside else ": outside.")
    run = data.target.run if data.target else ""
    sealed = next((e for e in data.ledger.entries if run and e.run == run), None) if data.ledger else None
    return Headline(
        words,
        "" if inside is None else ("good" if inside else "bad"),
        only(
            Fact("Forecast", number(found.loss), "Expected before the run began.", unit=unit,
                 link=Link("what it rests on", "#forecast")),
            Fact(f"{level} interval", span(interval, "{} – {}"), "Where one new run should end, nine times in ten."
                 if level == "90%" else "Where one new run should end.") if interval else None,
            Fact("Outcome", number(actual), "On the scored tokens of the validation split, at the end.", unit=unit,
                 link=Link(run, "#training") if data.target else None) if actual is not None else None,
            Fact("Error", percent(error, sign=True), "forecast / outcome − 1: above zero, the run did better than "
                 "forecast.", "" if inside is None else ("good" if inside else "bad")) if error is not None else None,
            Fact("Extrapolation", f"{beyond:.3g}×", "The run's compute over that of the largest run the laws "
                 "saw.") if beyond else None,
            Fact("Regime", found.regime, REGIMES[found.regime], "bad" if found.regime == "pre-scaling" else ""),
            Fact("Sealed", _moment(sealed.sealed_at), f"Ledger digest {sealed.digest[:16]}…: written before step 0.",
                 link=Link("ledger", "#ledger")) if sealed else None,
        ),
        _gauge(found.loss, interval, actual) if interval else None,
    )  # fmt: skip


def _moment(stamp: str) -> str:
    """`2030-01-02T03:04:05Z` as people write it."""
    return f"{stamp[:10]} {stamp[11:16]} UTC" if stamp[10:11] == "T" else stamp


def _gauge(loss: float, interval: tuple[float, float], actual: float | None) -> Gauge:
    ends = [*interval, loss] + ([actual] if actual is not None else [])
    low, high = min(ends), max(ends)
    margin = 0.15 * (high - low) or 1.0

    def place(x: float) -> float:
        return round(100 * (x - low + margin) / (high - low + 2 * margin), 2)

    left, right = place(interval[0]), place(interval[1])
    shown = (number(interval[0]), number(interval[1]))
    return Gauge(*shown, left, right, place(loss), None if actual is None else place(actual))


def corpus(data: ReportData) -> Section | None:
    """What was read, what was removed and why, and how validation was kept apart."""
    c = data.corpus
    if c is None:
        return None
    removed = sum(c.removed.values())
    rows = sorted(c.sources.items(), key=lambda item: -item[1].bytes)[:_MOST_SOURCES]
    sources = table(
        f"The {len(rows)} largest of {len(c.sources)} sources", ("source", "documents", "bytes", "kept", "kept bytes"),
        ((name, thousands(s.documents), thousands(s.bytes), thousands(s.kept_documents), thousands(s.kept_bytes))
         for name, s in rows),
    )  # fmt: skip
    bad = table(
        "What could not be read", ("file", "line", "reason"),
        ((q.file, str(q.line or "–"), q.reason) for q in c.quarantine[:50]), words=(0, 2),
    )  # fmt: skip
    return Section(
        "corpus", "The corpus", "Text in, clean documents out: duplicates and text of poor quality removed, a "
        "validation split set aside.",
        (
            Fact("Documents", thousands(c.documents),
                 f"{thousands(c.read_documents)} were read from {thousands(c.files)} files."),
            Fact("Text", thousands(c.bytes), f"{thousands(c.read_bytes)} were read.", unit="bytes"),
            Fact("Removed", percent(removed / c.read_documents if c.read_documents else 0.0, 1),
                 f"{thousands(removed)} documents: duplicates, near duplicates and poor text."),
            Fact("Validation", thousands(c.validation.bytes), unit="bytes",
                 meaning=f"{thousands(c.validation.documents)} documents, split by whole {c.split_by}, so that near "
                 "duplicates stay on one side."),
            Fact("Contact", percent(c.contact.rate, 1),
                 f"of the validation text's {c.contact.n}-word sequences also occur in training: the lower, the less "
                 "the validation loss flatters."),
        ),
        drawn(draw.waterfall(c)), tables=tuple(t for t in (sources, bad) if t.rows), warnings=tuple(c.warnings),
        source=(*file_link("corpus folder", data.paths.get("corpus")), Link(f"SHA-256 {c.sha256[:16]}…", "#corpus")),
    )  # fmt: skip


def tokenizer(data: ReportData) -> Section | None:
    """The tokens: how much text one stands for, and the entropy of tables that know one or two of them."""
    t = data.tokens
    if t is None:
        return None
    return Section(
        "tokenizer", "The tokenizer", "Byte-level BPE: any text comes back byte for byte, so losses can be told in "
        "bits per byte and compared between tokenizers.",
        (
            Fact("Vocabulary", thousands(t.vocab_size), "Different tokens, special ones included."),
            Fact("Bytes a token", number(t.train.bytes / max(1, t.train.tokens), 3), "Text one token stands for."),
            Fact("Training tokens", thousands(t.train.tokens), "What there is to learn from, each once."),
            Fact("Validation tokens", thousands(t.validation.tokens), _scored(data, t)),
            Fact("Unigram entropy", number(t.unigram_bpb), unit="bits per byte",
                 meaning="What a table of token counts reaches."),
            Fact("Bigram entropy", number(t.bigram_bpb),
                 "What a table of pairs reaches: a model above it has not begun to scale.", unit="bits per byte"),
        ),
        source=file_link("tokens folder", data.paths.get("tokens")),
    )  # fmt: skip


def _scored(data: ReportData, t: TokensSummary) -> str:
    """The split's size is not what a loss is measured on: both are said."""
    words = f"In the whole split ({t.validation_id})"
    if data.scored_tokens is None or data.scored_tokens >= t.validation.tokens:
        return words + ", the same for every run."
    return f"{words}. Every score is taken on the same {thousands(data.scored_tokens)} of them, spread evenly over it."


def training(data: ReportData) -> Section | None:
    """The big run."""
    run = data.target
    name = run.run if run else ""
    log = next((log for log in data.logs if log.run == name), None)
    if run is None and (log is None or len(data.logs) != 1):
        return None
    facts: tuple[Fact, ...] = ()
    if run is not None:
        loss = run.validation
        facts = only(
            Fact("Compute", number(run.flops, 3), "Tokens × M of the steps really taken.", unit="FLOPs"),
            Fact("Tokens", thousands(run.tokens), f"{thousands(run.steps)} steps of {thousands(run.batch_tokens)}."),
            Fact("Speed", thousands(run.tokens_per_second), unit="tokens a second",
                 meaning=f"{run.precision}. {run.hardware}".strip())
            if run.tokens_per_second else None,
            Fact("Time", duration_of(run.seconds), f"Seed {run.seed}; {run.status}.") if run.seconds else None,
            Fact("Validation loss", number(loss.bits_per_byte), unit="bits per byte",
                 meaning=f"{number(loss.nats_per_token)} nats per token on the {thousands(loss.tokens)} validation "
                 "tokens that every run is scored on.")
            if loss else None,
        )  # fmt: skip
    shown = drawn(draw.training(log, data.the_forecast, run), draw.rate(log), draw.speed(log)) if log else ()
    path = data.paths.get(f"runs/{name}") or (log.path if log else "")
    return Section("training", "The big run", "One run, as planned, from the first step to the last.", facts, shown,
                   source=file_link(f"run folder {name}", path))  # fmt: skip


def duration_of(seconds: float) -> str:
    """Seconds in words."""
    return draw.duration(seconds)


def tuning(data: ReportData) -> Section | None:
    """SFT and DPO: from a text model to one that answers."""
    if not data.align and data.prefer is None:
        return None
    rows = [_tuned(record) for record in data.align]
    head = (
        "stage",
        "status",
        "examples",
        "steps",
        "peak rate",
        "answers before",
        "answers after",
        "pairs preferred",
        "time",
    )
    tables = [
        table("The tuning stages; answers in bits per byte on answers held out of tuning", head, rows, words=(0, 1))
    ]
    facts: tuple[Fact, ...] = ()
    if data.prefer is not None:
        p = data.prefer
        facts = (
            Fact("Preference pairs", thousands(p.pairs),
                 f"From {thousands(p.samples)} answers to {thousands(p.prompts)} prompts."),
            Fact("Answers that ended", percent(p.ended / p.samples if p.samples else None, 0),
                 "Of those the tuned model sampled."),
        )  # fmt: skip
        if p.by_reason:
            reasons = ((name, thousands(n)) for name, n in p.by_reason.items())
            tables.append(table("What decided the pairs", ("reason", "pairs"), reasons))
    skipped = tuple(f"{r.kind.upper()} was skipped: {r.reason}" for r in data.align if r.status == "skipped")
    return Section(
        "tuning", "Tuning: SFT and DPO", "First the model learns from written answers (loss on the answers only), then "
        "from pairs of its own answers: the one that ended well against the one that did not.",
        facts, drawn(*(draw.tuning(record) for record in data.align)), tables=tuple(tables), warnings=skipped,
        source=file_link("chat model", data.paths.get("chat_model")),
    )  # fmt: skip


def _tuned(r: AlignRecord) -> tuple[Cell, ...]:
    def bits(loss: LossSum | None) -> str:
        return number(loss.bits_per_byte) if loss else "–"

    preferred = percent(r.accuracy_after, 0)
    if r.status == "skipped":
        return (r.kind.upper(), r.status, *["–"] * 7)
    return (
        r.kind.upper(), r.status, thousands(r.examples), thousands(r.steps), number(r.learning_rate, 3),
        bits(r.heldout_before), bits(r.heldout_after), preferred, draw.duration(r.seconds),
    )  # fmt: skip


def evaluation(data: ReportData) -> Section | None:
    """Each task at each stage, with its interval."""
    results = {STAGES.get(stage, stage): result for stage, result in data.evaluations.items()}
    if not results:
        return None
    tasks = list(dict.fromkeys(task for result in results.values() for task in result.tasks))
    rows = []
    for task in tasks:
        row: list[Cell] = [task.replace("_", " ")]
        first = next(r.tasks[task] for r in results.values() if task in r.tasks)
        row.append(first.metric.replace("_", " "))
        for result in results.values():
            score = result.tasks.get(task)
            row.append(f"{number(score.score)} ({span(score.interval)})" if score else "–")
        rows.append((*row, thousands(first.n), first.protocol))
    head = ("task", "metric", *results, "items", "protocol")
    return Section(
        "evaluation", "Evaluation", "The same tasks before and after each stage; in brackets the 90% interval over "
        "items. Where two intervals overlap widely, do not read the difference.",
        figures=tuple(draw.evaluations(results)),
        tables=(table("Scores", head, rows, words=(0, 1, len(head) - 1)),),
        source=file_link("every answer", data.paths.get("evals")),
    )  # fmt: skip


def samples(data: ReportData) -> Section | None:
    """What the models say, word for word."""
    if not data.samples:
        return None
    by_prompt: dict[str, list[tuple[str, str, str]]] = {}
    for one in data.samples:
        remark = {True: "", False: "cut off: it did not end", None: ""}[one.ended]
        by_prompt.setdefault(one.prompt, []).append((STAGES.get(one.stage, one.stage), one.answer, remark))
    return Section(
        "samples", "Samples", "Word for word. A model this small has the form of the language, not the "
        "facts: it names things that do not exist.",
        exchanges=tuple(Exchange(prompt, tuple(answers)) for prompt, answers in by_prompt.items()),
    )  # fmt: skip


def ledger(data: ReportData) -> Section | None:
    """Every forecast of this workspace, whether or not it came true."""
    view = data.ledger
    if view is None or not (view.entries or view.warnings):
        return None
    chain = "broken" if not view.chain_ok else "intact" if view.entries else "empty"
    rows: list[tuple[Cell, ...]] = [
        (
            e.plan, e.kind if e.counts else f"{e.kind}, does not count", _moment(e.sealed_at),
            number(e.target_flops, 3), number(e.predicted), span(e.interval), number(e.outcome),
            percent(e.error, sign=True),
            {True: "inside", False: "outside", None: "–"}[e.inside], e.digest[:12],
        )
        for e in view.entries
    ]  # fmt: skip
    head = ("plan", "kind", "written", "C", "forecast", "interval", "outcome", "error", "", "digest")
    cover = view.coverage
    return Section(
        "ledger", "The ledger", "Each forecast is sealed before its run begins and chained to the one before; a plan "
        "that never ran stays visible, and the first seal of a target is the one that counts.",
        only(
            Fact("Chain", chain, "Each line holds the digest of the one above.",
                 "good" if chain == "intact" else "bad"),
            Fact("Inside their interval", f"{cover.inside} of {cover.of}",
                 f"So the true share lies between {percent(cover.interval[0], 0)} and {percent(cover.interval[1], 0)}.")
            if cover.of else None,
            Fact("Median error", percent(view.median_error), "Of forecasts that have an outcome.")
            if view.median_error is not None else None,
            Fact("Digest", view.digest[:16] + "…", "Publish it, and nothing above can be changed unseen.")
            if view.digest else None,
        ),
        drawn(draw.ledger(view)), tables=(table("All lines", head, rows, words=(0, 1, 2, 8, 9)),),
        warnings=tuple(view.warnings), source=file_link("ledger.jsonl", data.paths.get("ledger")),
    )  # fmt: skip


def time(data: ReportData) -> Section | None:
    """Where the time went."""
    figure = draw.time_by_phase(data.seconds)
    if figure is None:
        return None
    return Section("time", "Time by phase", "Wall time on the machine named at the top.", figures=(figure,))
