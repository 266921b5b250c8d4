"""Sections on ladder, laws, plan and forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws, PowerLaw
from forescale.base.records.report import ReportData
from forescale.report.figure import Figure, number, percent, thousands
from forescale.report.hyper_figures import batch, learning_rate, responses
from forescale.report.laws_figures import frontier, isoflop, model_scale, token_scale
from forescale.report.rows import UNITS, Run, by_budget, value
from forescale.report.scale_figures import scale_figures
from forescale.report.section import (
    Cell,
    Equation,
    Fact,
    Section,
    Table,
    anchor,
    drawn,
    file_link,
    only,
    span,
    table,
)
from forescale.report.story_figures import duration, ladder_curves

REGIMES = {
    "scaling": "The ladder's runs lie on one smooth curve: the forecast rests on a law that was seen to hold.",
    "pre-scaling": "Too few rungs are shown to lie on the curve (below), so all finished runs are used: the law is not "
    "established, take care.",
    "unknown": "The table does not say enough (steps, bigram entropy) to judge whether the runs are on the curve.",
}


def ladder(data: ReportData, runs: Sequence[Run]) -> Section | None:
    """The ladder: every run, and the response to learning rate and batch."""
    if not data.runs:
        return None
    laws = data.laws or Laws()
    rungs = by_budget(runs)
    seconds = [value(row, "seconds") for row in data.runs]
    spent = sum(s for s in seconds if s == s)
    target = data.target.run if data.target else ""
    logs = [log for log in data.logs if log.run != target]
    finished = sum(str(row.get("status") or "finished") == "finished" for row in data.runs)
    return Section(
        "ladder", "The ladder of small runs",
        "Small models, trained in many settings. What changes smoothly from one to the next is what the laws below are "
        "made of.",
        only(
            Fact("Runs", f"{finished}", f"of {len(data.runs)} in the table; the others are named with their status."),
            Fact("Budgets", f"{len(rungs)}", "Rungs: levels of compute, each tried with several sizes.")
            if rungs else None,
            Fact("Largest run", number(max(r.flops for r in runs), 3), unit="FLOPs",
                 meaning="C = M × D of the costliest ladder run.") if runs else None,
            Fact("Time", duration(spent), "Summed over runs; several ran at once.") if spent else None,
        ),
        drawn(*responses(laws, runs), ladder_curves(logs)),
        tables=(run_table(data.runs, data.paths, laws.unit),),
        source=file_link("run table", data.paths.get("ladder")),
    )  # fmt: skip


def run_table(rows: Sequence[Mapping[str, Any]], paths: Mapping[str, str], unit: str) -> Table:
    """Every row of the run table, each with its anchor and a link to its folder."""
    shown: list[tuple[Cell, ...]] = []
    names = []
    for place, row in enumerate(rows, start=1):
        name = str(row.get("run") or f"row {place}")
        names.append(name)
        path = paths.get(f"runs/{name}") or paths.get(f"runs/{row.get('trunk')}")
        link = file_link(name, path)
        shape = " × ".join(f"{side:.0f}" for key in ("n_layer", "d_model") if (side := value(row, key)) > 0)
        cells = [thousands(value(row, "tokens")), number(value(row, "lr"), 3), thousands(value(row, "batch_tokens"))]
        cells += [thousands(value(row, "steps")), number(value(row, "bpb" if unit == "bpb" else "loss"))]
        size = value(row, "flops_per_token")
        size = value(row, "params") if size != size else size
        shown.append(
            (
                link[0] if link else name, number(value(row, "flops"), 3), shape or "–", number(size, 3), *cells,
                f"{seed:.0f}" if (seed := value(row, "seed")) == seed else "–",
                str(row.get("status") or "finished"),
            )
        )  # fmt: skip
    head = ("run", "C", "layers × width", "M", "tokens", "rate", "batch", "steps", UNITS[unit], "seed", "status")
    caption = "All runs of the table. Click a head to sort; a mark in a figure leads to its row."
    return Table(caption, head, tuple(shown), (0, 2, 10), tuple(anchor(name) for name in names), sortable=True)


# --- laws ---


def laws(data: ReportData, runs: Sequence[Run]) -> Section | None:
    """The fitted laws, copy-ready, with what they rest on."""
    found = data.laws
    if found is None:
        return None
    check = found.self_check
    noise = min(found.noise, key=lambda point: -point.flops, default=None)
    return Section(
        "laws", "The laws",
        "What changes smoothly from rung to rung, as equations. C is compute in FLOPs, M the model's FLOPs a token "
        "(N where laws count parameters), D tokens, B the batch in tokens, η the peak learning rate, L the loss.",
        only(
            Fact("Regime", found.regime, REGIMES[found.regime], "bad" if found.regime == "pre-scaling" else ""),
            Fact("Runs used", f"{found.runs.used}",
                 f"{len(found.runs.left_out) or 'none'} left out"
                 + (", each with its reason below." if found.runs.left_out else ".")),
            _smallest_rung(found),
            Fact("Self-check error", percent(check.median_error),
                 f"Median error on {check.n} runs above {number(check.held_out_above, 3)} FLOPs that were hidden from "
                 f"the fit; {percent(check.coverage, 0)} of them fell inside their interval.") if check else None,
            Fact("Seed noise", percent(noise.seed_sd),
                 f"Standard deviation between seeds at {number(noise.flops, 3)} FLOPs: nothing finer can be "
                 "forecast.") if noise else None,
        ),
        drawn(learning_rate(found, runs), batch(found, runs), isoflop(found, runs), model_scale(found),
              token_scale(found), *scale_figures(found)),
        equations(found),
        tuple(t for t in (_rungs(found), _left_out(found), _noise(found)) if t.rows),
        warnings=tuple(found.warnings),
        source=file_link("laws.json", data.paths.get("laws")),
    )  # fmt: skip


def _smallest_rung(found: Laws) -> Fact | None:
    """Only in the scaling regime does the fit leave out what lies below the curve; elsewhere it uses every run."""
    if not found.smallest_rung:
        return None
    if found.regime == "scaling":
        label, meaning = "Smallest rung used", "Runs below it are not on the curve, and are left out of the fit."
    elif any(rung.admissible is False for rung in found.rungs):
        label = "Smallest rung on the curve"
        meaning = "The ladder as a whole is not shown to lie on it, so the fit uses the runs below, too."
    else:
        label, meaning = "Smallest rung", "The fit uses all rungs."
    return Fact(label, number(found.smallest_rung, 3), meaning, unit="FLOPs")


def _rungs(found: Laws) -> Table:
    words = {True: "on the curve", False: "not on the curve", None: "cannot be judged"}
    return table(
        "Which budgets lie on the curve", ("C", "best loss", "bigram entropy", "steps", "verdict", "why"),
        ((number(r.flops, 3), number(r.best_loss), number(r.bigram), thousands(r.steps), words[r.admissible], r.reason)
         for r in found.rungs), words=(4, 5),
    )  # fmt: skip


def _left_out(found: Laws) -> Table:
    rows = ((str(r.row), str(r.line or "–"), r.reason) for r in found.runs.left_out)
    return table("Rows left out of the fit", ("row", "line", "reason"), rows, words=(2,))


def _noise(found: Laws) -> Table:
    rows = ((number(p.flops, 3), percent(p.seed_sd), str(p.replicates)) for p in found.noise)
    return table("Noise between seeds", ("C", "standard deviation", "runs"), rows, words=())


_LETTERS = {"flops": "C", "size": "M", "tokens": "D", "batch_tokens": "B"}


def equations(found: Laws) -> tuple[Equation, ...]:
    """Every law as text and as LaTeX, with the intervals of its parameters."""
    out = []
    size = "M" if found.scale == "M" else f"N_{found.scale[1]}"
    if found.surface is not None:
        s = found.surface
        a, b = f"{number(s.A)} / {size}^{s.alpha:.4g}", f"{number(s.B)} / D^{s.beta:.4g}"
        la, lb = (f"\\frac{{{_tex(c)}}}{{{x}^{{{e:.4g}}}}}" for c, x, e in ((s.A, size, s.alpha), (s.B, "D", s.beta)))
        plain, latex = f"L = {number(s.E)} + {a} + {b}", f"L = {_tex(s.E)} + {la} + {lb}"
        if s.A == s.B == 0.0:  # a flat ladder
            plain, latex = f"L = {number(s.E)}", f"L = {_tex(s.E)}"
        elif s.gamma != 1.0:
            g = f"{s.gamma:.4g}"
            plain = f"L = {number(s.E)} + (({a})^(1/{g}) + ({b})^(1/{g}))^{g}"
            inner = f"\\left({la}\\right)^{{1/{g}}} + \\left({lb}\\right)^{{1/{g}}}"
            latex = f"L = {_tex(s.E)} + \\left[{inner}\\right]^{{{g}}}"
        out.append(Equation("Loss", plain, latex, _intervals(s.intervals),
                            f"Loss in {UNITS[found.unit]} of a model of any size on any number of tokens; "
                            f"{number(s.E)} is what no compute removes."))  # fmt: skip
    if found.compute is not None:
        c = found.compute
        out.append(Equation("Frontier", f"L = {number(c.E)} + {number(c.k)} C^-{c.alpha:.4g}",
                            f"L = {_tex(c.E)} + {_tex(c.k)}\\,C^{{-{c.alpha:.4g}}}", _intervals(c.intervals),
                            "Loss of the best split of each budget."))  # fmt: skip
    if found.allocation is not None:
        al = found.allocation
        for letter, k, e, what in ((size, al.model_coefficient, al.model_exponent, "model"),
                                   ("D", al.data_coefficient, al.data_exponent, "data")):  # fmt: skip
            named = {key: ends for key, ends in al.intervals.items() if key.startswith(what)}
            out.append(Equation(f"Optimal {what} scale", f"{letter} = {number(k)} C^{e:.4g}",
                                f"{letter}_{{\\mathrm{{opt}}}} = {_tex(k)}\\,C^{{{e:.4g}}}", _intervals(named),
                                "The share of a larger budget that goes into the " + what + "."))  # fmt: skip
    for law, name, letter, latex in (
        (found.learning_rate, "Learning rate", "η", "\\eta"),
        (found.batch, "Batch", "B", "B"),
    ):
        if law is not None:
            out.append(_power(law, name, letter, latex))
    return tuple(out)


def _power(law: PowerLaw, name: str, letter: str, latex: str) -> Equation:
    plain = " ".join(f"{_LETTERS[key]}^{exponent:.4g}" for key, exponent in law.exponents.items())
    tex = "\\,".join(f"{_LETTERS[key]}^{{{exponent:.4g}}}" for key, exponent in law.exponents.items())
    held = ", ".join(f"{key} {shown}" for key, shown in law.conditional_on.items() if shown is not None)
    meaning = "Peak rate" if letter == "η" else "Tokens a step"
    meaning += f"; holds for {held}." if held else "."
    if law.held_out is not None:
        meaning += f" On larger cells left out of the fit its choice cost {percent(law.held_out)} of the loss."
    return Equation(name, f"{letter} = {number(law.coefficient)} {plain}", f"{latex} = {_tex(law.coefficient)}\\,{tex}",
                    _intervals(law.intervals), meaning)  # fmt: skip


def _tex(x: float) -> str:
    mantissa, _, exponent = number(x).replace(",", "").partition("e")
    return f"{mantissa} \\times 10^{{{exponent}}}" if exponent else mantissa


def _intervals(intervals: Mapping[str, tuple[float, float]]) -> str:
    return "; ".join(f"{name.replace('_', ' ')} {span(ends)}" for name, ends in intervals.items())


# --- plan and forecast ---


def _epochs(times: float) -> str:
    return "no token is seen twice" if times <= 1.0 else f"each unique token is seen {times:.3g} times"


def plan(data: ReportData) -> Section | None:
    """What was decided for the big run, and what the laws alone would say."""
    p = data.plan
    if p is None:
        return None
    m, say = p.model, p.laws_say
    fixed = table(
        "The plan, and what the laws alone say", ("", "plan", "laws alone"),
        (
            ("M, FLOPs a token", number(p.flops_per_token), number(say.flops_per_token)),
            ("tokens", thousands(p.tokens), thousands(say.tokens)),
            ("batch, tokens", thousands(p.batch_tokens), thousands(say.batch_tokens)),
            ("peak learning rate", number(p.learning_rate), number(say.learning_rate)),
        ),
    )  # fmt: skip
    shape = table(
        "The model", ("layers", "width", "heads", "KV heads", "feed-forward", "vocabulary", "positions"),
        ((str(m.n_layer), str(m.d_model), str(m.n_head), str(m.n_kv_head), str(m.d_ffn), thousands(m.vocab_size),
          thousands(m.seq_len)),), words=(),
    )  # fmt: skip
    hours = p.cost.device_hours
    return Section(
        "plan", "The plan",
        "Shape, tokens, batch and learning rate of the big run, chosen by the laws within what the recipe fixes.",
        only(
            Fact("Compute", number(p.flops, 3), unit="FLOPs",
                 meaning=f"M × D of the rounded plan; {number(p.flops_asked, 3)} asked."),
            Fact("Parameters", thousands(m.params), f"{thousands(m.params_non_embedding)} without embeddings."),
            Fact("Tokens", thousands(p.tokens),
                 f"{thousands(p.steps)} steps; {_epochs(p.epochs)}."),
            Fact("Device hours", number(hours, 3), f"On {p.device}." if p.device else "") if hours else None,
        ),
        tables=(fixed, shape), warnings=tuple(p.warnings), source=file_link("plan.json", data.paths.get("plan")),
    )  # fmt: skip


def forecast(data: ReportData, runs: Sequence[Run], band: Sequence[Forecast]) -> Section | None:
    """Loss against compute with the forecast, its interval and the outcome; what the forecast takes for granted."""
    found = data.the_forecast
    shown: Figure | None = frontier(data.laws or Laws(), runs, band, found, data.target)
    if shown is None:
        return None
    tables = []
    if found is not None and found.assumptions:
        rows = ((a.what, _said(a.ladder), _said(a.target), percent(a.charged)) for a in found.assumptions)
        head = ("what", "ladder", "target", "charged")
        tables.append(table("What the forecast takes for granted", head, rows, words=(0, 1, 2)))
    if found is not None and found.quantiles:
        ends = ((percent(p, 0), number(loss)) for p, loss in found.quantiles)
        tables.append(
            table("The whole distribution", ("probability of ending below", UNITS[found.unit]), ends, words=())
        )
    title, lead = "Loss against compute", "The runs, and the frontier through the best of each budget."
    if found is not None:
        title = "Forecast against outcome" if data.target else "The forecast"
        lead = "The forecast is for one new run: its interval holds the error of the fit, what grows with "
        lead += "extrapolation, and the noise between seeds."
    return Section(
        "forecast", title, lead,
        figures=(shown,), tables=tuple(tables), warnings=tuple(found.warnings) if found else (),
    )  # fmt: skip


def _said(x: Any) -> str:
    if isinstance(x, bool) or not isinstance(x, int | float):
        return "–" if x is None else str(x)
    return number(float(x))
