from __future__ import annotations

import doctest
import math
from pathlib import Path

import pytest
from plotly.graph_objects import Figure as PlotlyFigure

from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws
from forescale.base.records.report import ReportData, TrainingLog
from forescale.report import figure as figure_module
from forescale.report import static, story_figures, ticks
from forescale.report.colours import THEMES, resolve, token
from forescale.report.figure import Axis, Bars, Figure, Grid, Line, Points, Shaded, number, percent
from forescale.report.hyper_figures import batch, hyper_at, learning_rate, responses
from forescale.report.interactive import payload, to_plotly
from forescale.report.laws_figures import all_figures, frontier, isoflop, model_scale, outcome_of, token_scale
from forescale.report.rows import best_by_size, by_budget, cells, read
from forescale.report.scale_figures import scale_figures

BUDGETS = (1e11, 3e11, 1e12)


def series(figure: Figure | None, label: str) -> Points:
    assert figure is not None
    (found,) = [one for one in figure.series if isinstance(one, Points) and one.label == label]
    return found


@pytest.fixture(scope="module")
def figures(story: ReportData) -> list[Figure]:
    drawn = all_figures(story.laws, story.runs, band=story.band, forecast=story.the_forecast, target=story.target)
    drawn += story_figures.evaluations(story.evaluations)
    log = story.logs[0]
    more = [story_figures.waterfall(story.corpus), story_figures.training(log, story.the_forecast, story.target),
            story_figures.rate(log), story_figures.speed(log), story_figures.ladder_curves(story.logs),
            story_figures.tuning(story.align[0]), story_figures.ledger(story.ledger),
            story_figures.time_by_phase(story.seconds)]  # fmt: skip
    assert None not in more
    return drawn + [one for one in more if one is not None]


def test_plotly_accepts_every_figure_in_both_themes(figures: list[Figure]) -> None:
    for figure in figures:
        for theme in THEMES:
            drawn = to_plotly(figure, theme)
            assert isinstance(drawn, PlotlyFigure)
            assert len(drawn.data) >= 1
            assert '"@' not in drawn.to_json()


def test_every_figure_becomes_svg_and_png(figures: list[Figure], tmp_path: Path) -> None:
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        svg, png = static.write(figure, tmp_path)
        assert svg.read_text(encoding="utf-8").rstrip().endswith("</svg>")
        assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_static_figures_are_the_same_bytes_again(figures: list[Figure], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in static.write(figures[0], tmp_path / "a")]
    assert first == [path.read_bytes() for path in static.write(figures[0], tmp_path / "b")]


def test_figures_have_numbers_for_readers_without_eyes(figures: list[Figure]) -> None:
    for figure in figures:
        assert figure.table(), figure.name
        assert figure.caption


def test_rows_that_did_not_finish_are_not_drawn(rows: list[dict]) -> None:
    runs = read(rows)
    assert "b0-diverged" not in {run.name for run in runs}
    assert list(by_budget(runs)) == pytest.approx(list(BUDGETS))


def test_budgets_within_ten_percent_are_one(rows: list[dict]) -> None:
    loose = [{**row, "budget": None, "flops": row["flops"] * (1 + 0.04 * (n % 2))} for n, row in enumerate(rows)]
    assert len(by_budget(read(loose))) == 3


def test_response_rings_what_is_near_the_best(laws: Laws, rows: list[dict]) -> None:
    runs = read(rows)
    for figure, rung in zip(responses(laws, runs), by_budget(runs).values(), strict=True):
        tried = cells(rung)
        near = series(figure, "near-optimal")
        (shaded,) = [one for one in figure.series if isinstance(one, Shaded)]
        assert len(shaded.x) == len(tried)
        assert len(near.x) == sum(cell.excess <= 0.006 for cell in tried)
        assert min(shaded.value) == 0.0


def test_replicates_are_one_cell(rows: list[dict]) -> None:
    twice = [
        *rows,
        *({**row, "run": row["run"] + "-again", "seed": 9, "bpb": row["bpb"] * 1.02} for row in rows if row["bpb"]),
    ]
    one, two = cells(by_budget(read(rows))[1e12]), cells(by_budget(read(twice))[1e12])
    assert len(one) == len(two)
    assert all(len(b.runs) == 2 * len(a.runs) for a, b in zip(one, two, strict=True))


def test_a_full_grid_is_printed_as_one() -> None:
    rows = [{"run": f"{i}{j}", "flops": 1e17, "flops_per_token": 1.77e8, "tokens": 5.6e8, "lr": 2.0**-i, "batch_tokens": 2**j,
             "bpb": 3.7 + 0.01 * (i - 9) ** 2 + 0.02 * (j - 17) ** 2} for i in range(7, 12) for j in range(15, 20)]  # fmt: skip
    (figure,) = responses(Laws(), read(rows))
    (grid,) = figure.series
    assert isinstance(grid, Grid)
    assert (len(grid.y), len(grid.x)) == (5, 5)
    assert grid.printed[2][2] == "●3.700"
    assert sum(cell.startswith("●") for row in grid.printed for cell in row) == 1
    assert grid.value[2][2] == 0.0


def test_hyper_laws_follow_the_laws(laws: Laws, rows: list[dict]) -> None:
    runs = read(rows)
    for figure, which in ((learning_rate(laws, runs), 0), (batch(laws, runs), 1)):
        assert figure is not None
        (line,) = [one for one in figure.series if isinstance(one, Line)]
        for x, y in zip(line.x, line.y, strict=True):
            assert y == pytest.approx(hyper_at(laws, x)[which])


def test_hyper_law_in_size_and_tokens_is_drawn_along_the_optimal_split(laws: Laws, rows: list[dict]) -> None:
    assert laws.learning_rate is not None
    assert laws.allocation is not None
    law = laws.learning_rate.model_copy(update={"exponents": {"size": -0.5, "batch_tokens": 0.3}, "correlation": {}})
    other = laws.model_copy(update={"learning_rate": law})
    size, _ = laws.allocation.split(1e12)
    assert hyper_at(other, 1e12)[0] == pytest.approx(0.3118 * size**-0.5 * hyper_at(laws, 1e12)[1] ** 0.3)
    assert learning_rate(other, read(rows)) is not None


def test_isoflop_shows_the_best_run_of_each_size(laws: Laws, rows: list[dict]) -> None:
    runs = read(rows)
    figure = isoflop(laws, runs)
    for budget, rung in by_budget(runs).items():
        assert series(figure, f"C = {number(budget, 2)}").y == tuple(run.loss for run in best_by_size(rung))
    minima = series(figure, "minimum, 90% interval")
    assert minima.left == pytest.approx([0.8 * m.size / 1.05 for m in laws.minima])
    assert all(low < y < high for low, y, high in zip(minima.low, minima.y, minima.high, strict=True))


def test_a_minimum_at_the_edge_is_no_minimum(laws: Laws, rows: list[dict]) -> None:
    edge = [m.model_copy(update={"edge": n == 2}) for n, m in enumerate(laws.minima)]
    other = laws.model_copy(update={"minima": edge})
    figure = isoflop(other, read(rows))
    assert len(series(figure, "minimum, 90% interval").x) == 2
    assert figure is not None
    assert "1 budgets have their best size at the grid's edge" in figure.caption
    assert series(model_scale(other), "at the grid's edge: a bound").x == (1e12,)


def test_split_laws_multiply_to_compute(laws: Laws) -> None:
    model, data = model_scale(laws), token_scale(laws)
    assert model is not None
    assert data is not None
    m, d = (next(one for one in f.series if isinstance(one, Line)) for f in (model, data))
    for flops, a, b in zip(m.x, m.y, d.y, strict=True):
        assert a * b == pytest.approx(flops)


def test_frontier_holds_forecast_and_outcome(story: ReportData) -> None:
    assert story.laws is not None
    forecast = story.the_forecast
    assert forecast is not None
    assert forecast.interval is not None
    figure = frontier(story.laws, read(story.runs), story.band, forecast, story.target)
    mark = series(figure, "forecast")
    assert (mark.y, mark.low, mark.high) == ((forecast.loss,), (forecast.interval[0],), (forecast.interval[1],))
    outcome = series(figure, "outcome")
    assert outcome.y == (outcome_of(story.target, "bpb"),)
    assert outcome.role == "good"
    tight = forecast.model_copy(update={"interval": (forecast.loss * 0.999, forecast.loss * 1.001)})
    assert series(frontier(story.laws, [], (), tight, story.target), "outcome").role == "bad"


def test_a_budget_off_the_curve_is_set_apart(laws: Laws, rows: list[dict]) -> None:
    rungs = [rung.model_copy(update={"admissible": rung.flops > 2e11}) for rung in laws.rungs]
    figure = frontier(laws.model_copy(update={"rungs": rungs}), read(rows))
    assert len(series(figure, "budget off the curve").x) == 1
    assert len(series(figure, "best of each budget").x) == 2


def test_forecast_without_interval_is_drawn(story: ReportData) -> None:
    assert story.the_forecast is not None
    published: Forecast = story.the_forecast.model_copy(update={"interval": None})
    figure = frontier(Laws(unit="bpb"), [], [published], published, None)
    assert figure is not None
    to_plotly(figure)


def test_waterfall_ends_at_what_was_kept(story: ReportData) -> None:
    figure = story_figures.waterfall(story.corpus)
    assert figure is not None
    (bars,) = figure.series
    assert isinstance(bars, Bars)
    assert story.corpus is not None
    assert bars.value[0] == story.corpus.read_documents
    assert bars.base[len(story.corpus.removed)] == story.corpus.documents
    assert bars.value[-2:] == (31210.0, 1310.0)


def test_stages_of_the_learning_rate_are_found(story: ReportData) -> None:
    log = story.logs[0]
    drops = story_figures.stages(log)
    total = log.rows[-1]["tokens"]
    assert [at / total for at, _ in drops] == pytest.approx([0.8, 0.9], abs=0.01)
    assert [factor for _, factor in drops] == pytest.approx([0.316, 0.1])


def test_a_torn_log_is_drawn_as_far_as_it_goes() -> None:
    rows = [
        {"tokens": 10, "loss": 3.0},
        {"tokens": None},
        {},
        {"tokens": 30, "loss": "nan"},
        {"tokens": 40, "loss": 2.0, "lr": 0.1},
    ]
    assert story_figures.training(TrainingLog(run="x", rows=rows)) is not None
    assert story_figures.training(TrainingLog(run="x", rows=rows[:2])) is None
    assert story_figures.rate(TrainingLog(run="x")) is None


def test_ledger_errors_are_signed_and_coloured(story: ReportData) -> None:
    figure = story_figures.ledger(story.ledger)
    inside, outside = series(figure, "outcome inside its interval"), series(figure, "outcome outside")
    assert inside.y == pytest.approx((1 / 1.006 - 1,))
    assert outside.y == pytest.approx((1 / 1.05 - 1,))
    assert inside.low[0] < 0 < inside.high[0]
    assert outside.high[0] < 0


def test_ticks_lie_inside_and_are_few() -> None:
    for log in (True, False):
        for low, high in ((0.003, 0.004), (1.7, 3.4), (1e11, 1.6e13), (1e17, 3e24), (0.0, 12345.0), (5.0, 5.000001)):
            if log and low == 0:
                continue
            marks = ticks.ticks(Axis("", log=log), low, high)
            assert 2 <= len(marks) <= 10, (log, low, high, marks)
            assert all(low * 0.99 <= mark <= high * 1.01 for mark in marks)
            assert len(set(ticks.labels(Axis("", log=log), marks, "10^{}"))) == len(marks) or high - low < 1e-4


def test_extent_ignores_what_a_log_axis_cannot_show() -> None:
    points = Points("", (0.0, 1.0, math.nan, 100.0), (1.0, 2.0, 3.0, math.inf))
    low, high = ticks.extent(Figure("f", "", "", Axis("", log=True), Axis(""), (points,)), "x")
    assert 0 < low < 1
    assert 100 < high < 200


def test_colours() -> None:
    assert resolve(token("main", alpha=0.5)) == "rgba(47,95,208,0.5)"
    assert resolve(token(0, 3)) == THEMES["light"]["order"][0]
    assert resolve(token(2, 3), "dark") == THEMES["dark"]["order"][-1]


def test_payload_is_plain_json_even_with_holes() -> None:
    figure = Figure(
        "f", "t", "c", Axis("x"), Axis("y"), (Points("p", (1.0, math.nan), (2.0, math.inf), hover=("@main<b>", "")),)
    )
    data = payload(figure)["data"][0]
    assert data["x"] == [1.0, None]
    assert data["hovertext"][0] == "&#64;main&lt;b&gt;"


def test_words_for_numbers() -> None:
    assert percent(-0.0123, sign=True) == "−1.23%"
    assert percent(None) == "–"
    assert number(-1234.5678) == "-1,235"
    for module in (figure_module, story_figures, ticks):
        assert doctest.testmod(module).failed == 0


def test_static_words_are_no_formulas(tmp_path: Path) -> None:
    names = ("$x^", "a_b", "<b>&")
    bars = Bars("$", names, (1.0, 2.0, 3.0), printed=names, across=True)
    figure = Figure("f", "$\\frac{", "c", Axis("$n_"), Axis("", names=names), (bars,))
    assert all(path.stat().st_size > 1000 for path in static.write(figure, tmp_path))


def test_units_of_scale_are_drawn_beside_what_was_measured(laws: Laws) -> None:
    curves = {figure.name: figure for figure in scale_figures(laws)}
    assert list(curves) == ["scale-curves", "scale-errors", "scales"]
    stars = [one for one in curves["scale-curves"].series if isinstance(one, Points) and one.mark == "star"]
    assert [one.label for one in stars] == ["hidden, in 6 N1", "hidden, in 6 N2", "hidden, in M"]
    for star, curve in zip(stars, laws.scale_curves, strict=True):
        assert star.y == tuple(run.loss for run in curve.runs if run.hidden)
    dashed = [one for one in curves["scale-curves"].series if isinstance(one, Line) and one.dash]
    assert all(min(line.x) < min(star.x) for line, star in zip(dashed, stars, strict=True)), "the curve is drawn on"
    assert "6 N2 −0.70%" in curves["scale-curves"].caption
    means = [one for one in curves["scale-errors"].series if isinstance(one, Line)]
    assert means[0].y[-1] > 0 > means[1].y[-1]


def test_units_of_scale_need_two_units_and_two_distances(laws: Laws) -> None:
    assert scale_figures(laws.model_copy(update={"scales": {}, "scale_curves": laws.scale_curves[:1]})) == []
    near = [curve.model_copy(update={"errors": curve.errors[:1]}) for curve in laws.scale_curves]
    names = [figure.name for figure in scale_figures(laws.model_copy(update={"scale_curves": near}))]
    assert names == ["scale-curves", "scales"]
