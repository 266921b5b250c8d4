"""What a person sees while verbs work: phases, a live ladder, a training bar. All on standard error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from forescale.base.records.run import RunRecord

if TYPE_CHECKING:
    from forescale.base.records.corpus import CorpusSummary
    from forescale.base.records.laws import Laws
    from forescale.base.records.plan import Plan
    from forescale.base.records.spec import RunSpec
    from forescale.base.records.tokens import TokensSummary
    from forescale.project.timing import Speeds
    from forescale.scaling.ladder import Design


LadderUpdate = Callable[["Design", Sequence[RunRecord]], None]
"""What a ladder calls as its trunks end."""


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class Display:
    """Prints to standard error; `quiet` prints nothing (tests)."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live: Live | None = None

    def headline(self, text: str) -> None:
        """The first line."""
        self.console.print(f"[bold]{text}[/bold]")

    def phase(self, name: str, note: str) -> None:
        """A phase begins."""
        self.console.print(f"\n[bold cyan]{name}[/bold cyan]  {note}")

    def phase_done(self, name: str, seconds: float) -> None:
        """A phase has ended."""
        self.stop()
        self.console.print(f"[dim]{name}: {clock(seconds)}[/dim]")

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text)

    def stop(self) -> None:
        """End what is live."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def corpus(self, summary: CorpusSummary) -> None:
        """What cleaning kept and removed, and why."""
        table = Table(box=None, pad_edge=False)
        table.add_column("documents", justify="right")
        table.add_column("MB", justify="right")
        table.add_column("")
        table.add_row(f"{summary.documents:,}", f"{summary.bytes / 1e6:.1f}", "kept")
        for reason, count in sorted(summary.removed.items(), key=lambda item: -item[1]):
            megabytes = summary.removed_bytes.get(reason, 0) / 1e6
            table.add_row(f"{count:,}", f"{megabytes:.1f}", f"removed: {reason}")
        self.console.print(table)
        held = summary.validation
        self.console.print(
            f"validation: {held.documents:,} documents, {held.bytes / 1e6:.2f} MB, whole {summary.split_by} "
            f"({', '.join(held.sources[:8])}{', ...' if len(held.sources) > 8 else ''}); "
            f"{100 * summary.contact.rate:.1f}% of its {summary.contact.n}-grams of words occur in training"
        )
        if summary.quarantined:
            self.console.print(f"{summary.quarantined:,} files, lines or rows could not be read and were set aside")
        for warning in summary.warnings:
            self.console.print(f"[yellow]warning:[/yellow] {warning}")

    def tokens(self, summary: TokensSummary) -> None:
        """Token counts and entropies."""
        self.console.print(
            f"{summary.train.tokens / 1e6:.1f} M training tokens, "
            f"{summary.validation.tokens / 1e6:.2f} M for validation; "
            f"{summary.train.bytes / summary.train.tokens:.2f} bytes a token; "
            f"a table of bigrams reaches {summary.bigram_bpb:.3f} bits per byte, "
            f"of single tokens {summary.unigram_bpb:.3f}"
        )

    def ladder(self, speeds: Speeds | None = None, workers: int | None = None) -> LadderUpdate:
        """A live table of the ladder: done, running, time left (from what has ended, where no speeds are known).

        `workers`: runs at once, by default one a core. Where standard error is no terminal, a line a trunk.
        """
        view = LadderView(speeds, workers)

        def update(plan: Design, records: Sequence[RunRecord]) -> None:
            view.update(plan, records)
            if not self.console.is_terminal:
                self.console.print(view.line(), soft_wrap=True)
            elif self._live is None:
                self._live = Live(view, console=self.console, refresh_per_second=1)
                self._live.start()

        return update

    def training(self, name: str) -> Callable[[int, int, float, float], None]:
        """A progress bar of a run: loss, tokens a second, time left."""
        bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn(
                "{task.completed}/{task.total} steps  loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s"
            ),
            TimeRemainingColumn(),
            console=self.console,
        )
        task = bar.add_task(name, total=None, loss=float("nan"), speed=0.0)

        def update(step: int, steps: int, loss: float, speed: float) -> None:
            if self._live is None and self.console.is_terminal:
                self._live = bar.live
                bar.start()
            bar.update(task, completed=step, total=steps, loss=loss, speed=speed)

        return update

    def laws(self, laws: Laws) -> None:
        """The fit in a few lines."""
        self.console.print(
            f"regime: [bold]{laws.regime}[/bold]; {laws.runs.used} runs used, {laws.runs.tuning} only for the laws of"
            f" rate and batch, {len(laws.runs.left_out)} left out"
        )
        for warning in laws.warnings:
            self.console.print(f"[yellow]warning:[/yellow] {warning}")

    def plan(self, plan: Plan) -> None:
        """The plan and its sealed forecast."""
        m = plan.model
        self.console.print(
            f"plan: {m.n_layer} layers, width {m.d_model}, {m.params / 1e6:.2f} M parameters; "
            f"{plan.tokens / 1e6:.2f} M tokens in {plan.steps:,} steps of {plan.batch_tokens:,}; "
            f"learning rate {plan.learning_rate:.3g}; {plan.flops:.3g} FLOPs"
        )
        if plan.forecast is not None:
            words = forecast_words(plan.forecast.loss, plan.forecast.interval)
            self.console.print(f"forecast: [bold]{words}[/bold], sealed before step 0")

    def outcome(self, plan: Plan, record: RunRecord) -> None:
        """Forecast against outcome."""
        if plan.forecast is not None and record.validation is not None:
            actual = record.validation.bits_per_byte
            words = forecast_words(plan.forecast.loss, plan.forecast.interval)
            self.console.print(
                f"outcome: [bold]{actual:.4f}[/bold] bits per byte; the forecast was {words} "
                f"({100 * (plan.forecast.loss / actual - 1):+.2f}%)"
            )


@contextmanager
def live_ladder(workers: int | None = None) -> Iterator[LadderUpdate]:
    """A live ladder that ends with the verb, however the verb ends."""
    display = Display()
    try:
        yield display.ladder(workers=workers)
    finally:
        display.stop()


def forecast_words(loss: float, interval: tuple[float, float] | None, level: float = 0.9) -> str:
    """A forecast in words."""
    words = f"{loss:.4f} bits per byte"
    return words + (f", {100 * level:.0f}% interval {interval[0]:.4f} to {interval[1]:.4f}" if interval else "")


class LadderView:
    """A renderable that reads the running trunks' logs whenever it is drawn."""

    def __init__(self, speeds: Speeds | None, workers: int | None = None) -> None:
        self._speeds, self._workers = speeds, workers
        self._design: Design | None = None
        self._records: list[RunRecord] = []
        self._start = time.monotonic()

    def update(self, plan: Design, records: Sequence[RunRecord]) -> None:
        """New facts."""
        if self._design is None:  # what came before the ladder is not its time
            self._start = time.monotonic()
        self._design, self._records = plan, list(records)

    def line(self) -> str:
        """How far the ladder is, for a log that is no terminal too."""
        of = sum(len(spec.branches) for spec in self._design.specs) if self._design else 0
        left = self._left()
        words = f", about {clock(left)} left" if left else ""
        return f"ladder: {len(self._records)} of {of} runs ended after {clock(time.monotonic() - self._start)}{words}"

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for column in ("running", "step", "loss", "tokens/s"):
            table.add_column(column, justify="left" if column == "running" else "right")
        if self._design is not None:
            ended = {r.trunk for r in self._records}
            for spec in self._design.specs:
                last = None if spec.name in ended else last_line(Path(spec.out_dir) / "log.jsonl")
                if last is not None:
                    table.add_row(*self._row(spec, last))
        return Group(table, *self._best(), self.line())

    def _best(self) -> list[str]:
        """The best loss at each budget; a line a corpus."""
        groups = sorted({s.group for s in self._design.specs}) if self._design else []
        lines = []
        for group in groups:
            best: dict[float, float] = {}
            for record in self._records:
                if record.budget and record.validation and record.group == group:
                    loss = record.validation.bits_per_byte
                    best[record.budget] = min(loss, best.get(record.budget, loss))
            rungs = "  ".join(f"{c:.2g}: {best[c]:.3f}" for c in sorted(best))
            of = f", {group}" if len(groups) > 1 else ""
            lines.append(f"best bits per byte by FLOPs{of}  {rungs}")
        return lines

    def _row(self, spec: RunSpec, last: dict[str, float]) -> tuple[str, ...]:
        return (
            spec.name,
            f"{last.get('step', 0):,}",
            f"{last.get('loss') or float('nan'):.3f}",
            f"{last.get('tokens_per_second') or 0:,.0f}",
        )

    def _left(self) -> float | None:
        from forescale.base.runtime import cores
        from forescale.scaling.ladder import trunk_tokens

        if self._design is None:
            return None
        ended = {r.trunk for r in self._records}
        todo = [s for s in self._design.specs if s.name not in ended]
        at_once = max(1, min(self._workers or cores(), len(todo)))
        if self._speeds is not None:
            return sum(trunk_tokens(s) * self._speeds.seconds_per_token(s.shape) for s in todo) / at_once
        took, done = sum(r.seconds for r in self._records), sum(r.flops for r in self._records)
        return took / done * sum(trunk_tokens(s) * s.shape.flops_per_token for s in todo) / at_once if done else None


def last_line(path: Path) -> dict[str, float] | None:
    """The last whole JSON line of a log that another process is writing; None if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().split(b"\n")
        return json.loads(lines[-2]) if len(lines) > 1 else None
    except (OSError, ValueError):
        return None
