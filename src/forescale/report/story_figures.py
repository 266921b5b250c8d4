"""The figures of the story around the laws: corpus, training, tuning, evaluation, ledger, time. Records to Figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from forescale.base.records.align import AlignRecord
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.evaluation import EvalResult
from forescale.base.records.forecast import Forecast
from forescale.base.records.ledger import LedgerView
from forescale.base.records.report import TrainingLog
from forescale.base.records.run import RunRecord
from forescale.report.figure import Axis, Bars, Figure, Line, Points, Role, Rule, Series, number, percent, thousands
from forescale.report.laws_figures import outcome_of
from forescale.report.rows import UNITS, value

_MOST_POINTS = 600
_SMOOTH = 0.02


def waterfall(corpus: CorpusSummary | None) -> Figure | None:
    """What cleaning removed, reason by reason, from the documents read to the documents kept."""
    if corpus is None:
        return None
    removed = sorted(((reason, n) for reason, n in corpus.removed.items() if n), key=lambda item: -item[1])
    read = corpus.documents + sum(n for _, n in removed)
    names, values, base, roles = ["read"], [float(read)], [0.0], list[Role](["muted"])
    left = read
    for reason, count in removed:
        left -= count
        names.append(reason.replace("_", " "))
        values.append(float(count))
        base.append(float(left))
        roles.append("accent")
    names += ["kept", "of these, validation"]
    values += [float(corpus.documents), float(corpus.validation.documents)]
    base += [0.0, 0.0]
    roles += ["main", "good"]
    printed = tuple(
        thousands(v) + (f" ({percent(v / read, 1)})" if read and r == "accent" else "")
        for v, r in zip(values, roles, strict=True)
    )
    bars = Bars("documents", tuple(names), tuple(values), tuple(base), tuple(roles), printed, across=True)
    caption = "Each orange bar is what one rule took away, counted once, at the first rule that met the document."
    return Figure(
        "corpus-removed", "What cleaning removed, and why", caption, Axis("documents"), Axis("", names=bars.names),
        (bars,), legend=False, height=110 + 34 * len(names), wide=True,
    )  # fmt: skip


def training(log: TrainingLog, forecast: Forecast | None = None, target: RunRecord | None = None) -> Figure | None:
    """One run's loss against tokens, with the stages of the learning rate, the forecast and the outcome."""
    unit = forecast.unit if forecast else "bpb"
    key = "bpb" if unit == "bpb" and sum(math.isfinite(value(row, "bpb")) for row in log.rows) > 1 else "loss"
    unit = "bpb" if key == "bpb" else "nats_per_token"
    thin = _curve(log, key)
    if not thin:
        return None
    smooth = _smoothed([y for _, y in thin])
    xs = tuple(x for x, _ in thin)
    series: list[Series] = [
        Line("each logged step", xs, tuple(y for _, y in thin), "muted"),
        Line("running mean", xs, smooth),
    ]
    if forecast is not None and forecast.unit == unit:
        low, high = forecast.interval or (forecast.loss, forecast.loss)
        words = f"forecast {number(forecast.loss)}, sealed before step 0"
        series.append(Points("forecast (validation)", (xs[-1],), (forecast.loss,), "accent", (words,), low=(low,),
                             high=(high,), mark="diamond"))  # fmt: skip
    actual = outcome_of(target, unit)
    if actual is not None and target is not None:
        words = f"{target.run}: outcome {number(actual)}"
        series.append(
            Points("outcome (validation)", (xs[-1],), (actual,), "good", (words,), (target.run,), mark="star")
        )
    top = sorted(smooth)[int(0.985 * (len(smooth) - 1))]
    bottom = min([*smooth, *(y for _, y in thin[len(thin) // 2 :])] + ([actual] if actual else []))
    rules = tuple(Rule(at, f"rate × {factor:.3g}") for at, factor in stages(log))
    caption = "Loss on the batch just seen, before the step. The dotted lines are where the learning rate drops."
    return Figure(
        "training", f"Training {log.run}", caption, Axis("tokens", bounds=(0.0, 1.04 * xs[-1])),
        Axis(f"{UNITS[unit]}", bounds=(bottom - 0.06 * (top - bottom), top + 0.05 * (top - bottom))), tuple(series),
        rules=rules, wide=True,
    )  # fmt: skip


def stages(log: TrainingLog) -> list[tuple[float, float]]:
    """Where the learning rate steps down: tokens, and the factor on the peak from there on."""
    rates = [(value(row, "tokens"), value(row, "lr")) for row in log.rows]
    rates = [(x, rate) for x, rate in rates if math.isfinite(x) and rate > 0]
    peak = max((rate for _, rate in rates), default=0.0)
    drops = itertools.pairwise(rates)
    return [(after[0], after[1] / peak) for before, after in drops if after[1] < 0.75 * before[1]]


def _curve(log: TrainingLog, key: str) -> list[tuple[float, float]]:
    """Tokens and `key` of the logged steps, thinned; the last one stays. Fewer than two are no curve: empty."""
    points = [(value(row, "tokens"), value(row, key)) for row in log.rows]
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    step = max(1, len(points) // _MOST_POINTS)
    return [*points[:-1:step], points[-1]] if len(points) > 1 else []


def _smoothed(values: Sequence[float]) -> tuple[float, ...]:
    """Running mean with a window of 2% of the curve, so that the trend shows through the noise."""
    half = max(1, int(_SMOOTH * len(values) / 2))
    sums = [0.0]
    for one in values:
        sums.append(sums[-1] + one)
    ends = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return tuple((sums[b] - sums[a]) / (b - a) for a, b in ends)


def rate(log: TrainingLog) -> Figure | None:
    """The learning rate of one run against tokens."""
    thin = _curve(log, "lr")
    if not thin:
        return None
    line = Line("learning rate", tuple(x for x, _ in thin), tuple(y for _, y in thin))
    top = max(line.y)
    return Figure(
        "rate", "Learning rate", "Linear warm-up, then the peak, then two steps down: constant in between.",
        Axis("tokens", bounds=(0.0, 1.04 * line.x[-1])), Axis("learning rate", bounds=(0.0, 1.08 * top)), (line,),
        legend=False, height=300,
    )  # fmt: skip


def speed(log: TrainingLog) -> Figure | None:
    """Tokens a second of one run, over tokens."""
    thin = _curve(log, "tokens_per_second")
    if not thin:
        return None
    line = Line("tokens a second", tuple(x for x, _ in thin), tuple(y for _, y in thin))
    return Figure(
        "speed", "Speed", "Dips are checkpoints, validation, or another program on the machine.",
        Axis("tokens", bounds=(0.0, 1.04 * line.x[-1])), Axis("tokens a second", bounds=(0.0, 1.1 * max(line.y))),
        (line,), legend=False, height=300,
    )  # fmt: skip


def ladder_curves(logs: Sequence[TrainingLog]) -> Figure | None:
    """Training curves of many runs in one plot, smoothed."""
    series: list[Series] = []
    for log in logs:
        points = [(value(row, "tokens"), value(row, "bpb")) for row in log.rows]
        points = [(x, y) for x, y in points if x > 0 and y > 0]
        if len(points) >= 2:
            step = max(1, len(points) // 80)
            thin = points[::step]
            ys = _smoothed([y for _, y in thin])
            series.append(Line(log.run, tuple(x for x, _ in thin), ys, len(series), hover=(log.run,) * len(thin)))
    if not series:
        return None
    return Figure(
        "ladder-curves", "Training curves of the ladder", "Each line is one trunk; hover names it.",
        Axis("tokens", log=True), Axis("bits per byte", log=True), tuple(series), legend=len(series) <= 8, height=420,
        wide=True,
    )  # fmt: skip


def tuning(record: AlignRecord) -> Figure | None:
    """The loss of one tuning stage, step by step."""
    curve = [point for stage in record.stages for point in stage.curve]
    if len(curve) < 2:
        return None
    ys = [point.loss for point in curve]
    xs = tuple(float(place) for place in range(1, len(curve) + 1))
    words = "nats per answer token" if record.kind == "sft" else "loss per pair (nats; ln 2 = no preference)"
    series = (Line("each step", xs, tuple(ys), "muted"), Line("running mean", xs, _smoothed(ys)))
    lengths = [len(stage.curve) for stage in record.stages]
    rules = tuple(Rule(float(sum(lengths[:n])), f"stage {n + 1}") for n in range(1, len(lengths)))
    if record.kind == "dpo":
        rules += (Rule(math.log(2), "ln 2", upright=False),)
    caption = f"Peak learning rate {number(record.learning_rate, 3)}."
    return Figure(
        f"tuning-{record.kind}", f"{record.kind.upper()}: loss by step", caption, Axis("step"),
        Axis(words), series, rules=rules, height=320,
    )  # fmt: skip


def evaluations(results: Mapping[str, EvalResult]) -> list[Figure]:
    """One small figure a task: its score at each stage, with its interval."""
    stages_ = list(results)
    tasks = list(dict.fromkeys(task for result in results.values() for task in result.tasks))
    figures = []
    for task in tasks:
        scores = [(stage, results[stage].tasks[task]) for stage in stages_ if task in results[stage].tasks]
        if len(scores) < 2:
            continue
        hover = tuple(
            f"{stage}: {number(s.score)}\n{number(s.interval[0])} to {number(s.interval[1])}, n = {thousands(s.n)}"
            for stage, s in scores
        )
        points = Points(
            "score and 90% interval", tuple(float(n) for n in range(len(scores))), tuple(s.score for _, s in scores),
            "main", hover, low=tuple(s.interval[0] for _, s in scores), high=tuple(s.interval[1] for _, s in scores),
        )  # fmt: skip
        names = tuple(stage for stage, _ in scores)
        figures.append(
            Figure(
                f"eval-{_slug(task)}", task.replace("_", " ").capitalize(), scores[0][1].protocol,
                Axis("", names=names), Axis(scores[0][1].metric.replace("_", " ")), (points,), legend=False, height=280,
            )
        )  # fmt: skip
    return figures


def _slug(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)


def ledger(view: LedgerView | None) -> Figure | None:
    """Every forecast with an outcome: how far off, against its own interval."""
    known = [e for e in view.entries if e.outcome and e.predicted and e.interval] if view else []
    if not known:
        return None
    series: list[Series] = []
    for inside in (True, False):
        chosen = [(n, e) for n, e in enumerate(known, start=1) if bool(e.inside) == inside]
        if chosen:
            hover = tuple(
                f"{e.run or e.plan}\nforecast {number(e.predicted)}, outcome {number(e.outcome)}\n"
                f"error {percent(e.error, sign=True)}"
                for _, e in chosen
            )
            ratio = [(e.predicted, *e.interval, e.outcome) for _, e in chosen if e.interval]
            series.append(
                Points(
                    "outcome inside its interval" if inside else "outcome outside", tuple(float(n) for n, _ in chosen),
                    tuple(float(p or 0) / float(o or 1) - 1 for p, _, _, o in ratio), "good" if inside else "bad",
                    hover,
                    low=tuple(low / float(o or 1) - 1 for _, low, _, o in ratio),
                    high=tuple(high / float(o or 1) - 1 for _, _, high, o in ratio),
                    mark="dot" if inside else "diamond",
                )
            )  # fmt: skip
    caption = (
        "Zero is what really happened. A bar that crosses zero held its outcome; above zero, the forecast was high."
    )
    return Figure(
        "ledger-errors", "Forecast against outcome, all of them", caption,
        Axis("forecasts with an outcome, in order", bounds=(0.4, len(known) + 0.6)),
        Axis("forecast / outcome − 1", form="percent"), tuple(series), rules=(Rule(0.0, upright=False),), height=320,
    )  # fmt: skip


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(7.4), duration(754), duration(9000)
    ('7.4 s', '12 min 34 s', '2 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def time_by_phase(seconds: Mapping[str, float]) -> Figure | None:
    """How long each phase took."""
    if not seconds:
        return None
    names, values = tuple(name.replace("_", " ") for name in seconds), tuple(seconds.values())
    longest = max(values)
    scale, unit = (60.0, "minutes") if longest >= 120 else (1.0, "seconds")
    bars = Bars(
        "time", names, tuple(v / scale for v in values), printed=tuple(duration(v) for v in values), across=True
    )
    return Figure(
        "time", "Time by phase", f"{duration(sum(values))} in all.", Axis(unit), Axis("", names=names), (bars,),
        legend=False, height=90 + 32 * len(names), wide=True,
    )  # fmt: skip
