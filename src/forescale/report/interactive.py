"""Figure -> plotly. Colours stay tokens in the payload, so that the page can follow the reader's light or dark."""

from __future__ import annotations

import html
import json
import math
from typing import Any

from forescale.base.errors import MissingExtraError
from forescale.report.colours import THEMES, resolve, token
from forescale.report.figure import Band, Bars, Figure, Grid, Line, Points, Role, Series, Shaded
from forescale.report.ticks import extent, labels, ticks

Payload = dict[str, Any]
"""A plotly figure as plain JSON: data and layout."""
_SYMBOLS = {"dot": "circle", "ring": "circle-open", "star": "star", "diamond": "diamond", "small": "circle"}
_SIZES = {"dot": 9, "ring": 15, "star": 14, "diamond": 11, "small": 6}
_HEAT = [[place / 4, f"@heat{place}"] for place in range(5)]


def payload(figure: Figure) -> Payload:
    """The figure as plotly's JSON, colours as tokens (see colours.py)."""
    of = n_ordered(figure)
    data = [trace for one in figure.series for trace in _traces(one, of)]
    return {"data": data, "layout": _layout(figure)}


def as_script(figure: Figure) -> str:
    """The payload as text that may stand inside a script element of any page."""
    return json.dumps(payload(figure), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def to_plotly(figure: Figure, theme: str = "light") -> Any:
    """A `plotly.graph_objects.Figure`, for notebooks."""
    try:
        from plotly.graph_objects import Figure as PlotlyFigure
    except ImportError:
        raise MissingExtraError.of("report", "a plot") from None
    return PlotlyFigure(_coloured(payload(figure), theme))


def plotly_source() -> str:
    """plotly.js itself, to be written once into a page."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError.of("report", "the report") from None
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def n_ordered(figure: Figure) -> int:
    """How many places the figure's ordered scale has."""
    places = [0]
    for one in figure.series:
        roles: tuple[Role, ...] = one.roles if isinstance(one, Bars) else ()
        if isinstance(one, Points | Line | Band):
            roles = (one.role,)
        places += [role for role in roles if isinstance(role, int)]
    return 1 + max(places)


def _coloured(value: Any, theme: str) -> Any:
    if isinstance(value, dict):
        return {k: _coloured(v, theme) for k, v in value.items()}
    if isinstance(value, list):
        return [_coloured(v, theme) for v in value]
    if isinstance(value, str) and value.startswith("@heat"):
        return THEMES[theme]["heat"][int(value[5:])]
    return resolve(value, theme) if isinstance(value, str) and value.startswith("@") else value


def _words(texts: tuple[str, ...]) -> list[str]:
    """Text for plotly, which reads a little HTML: escaped, line ends as breaks; never a leading colour token."""
    return [html.escape(text, quote=False).replace("\n", "<br>").replace("@", "&#64;") for text in texts]


def _finite(values: tuple[float, ...]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _common(label: str, hover: tuple[str, ...], runs: tuple[str, ...] = ()) -> Payload:
    trace: Payload = {"name": _words((label,))[0], "showlegend": bool(label)}
    if hover:
        trace |= {"hovertext": _words(hover), "hoverinfo": "text"}
    if runs:
        trace["customdata"] = [f"run {name}" for name in runs]
    return trace


def _traces(one: Series, of: int) -> list[Payload]:
    match one:
        case Points():
            return [_points(one, of)]
        case Shaded():
            return [_shaded(one)]
        case Line():
            colour = token(one.role, of)
            line = {
                "color": colour,
                "width": 1 if one.role == "muted" else 2.2,
                "dash": "dash" if one.dash else "solid",
            }
            return [
                {"type": "scatter", "mode": "lines", "x": _finite(one.x), "y": _finite(one.y), "line": line}
                | _common(one.label, one.hover)
                | ({} if one.hover else {"hoverinfo": "skip"})
            ]
        case Band():
            return [
                {
                    "type": "scatter", "mode": "lines", "x": [*one.x, *reversed(one.x)],
                    "y": [*one.high, *reversed(one.low)], "fill": "toself", "line": {"width": 0},
                    "fillcolor": token(one.role, of, 0.16), "hoverinfo": "skip",
                }
                | _common(one.label, ())
            ]  # fmt: skip
        case Grid():
            return [_grid(one)]
        case Bars():
            return [_bars(one, of)]


def _points(one: Points, of: int) -> Payload:
    colour = token(one.role, of)
    line = {"width": 2 if one.mark == "ring" else 1, "color": colour if one.mark == "ring" else "@paper"}
    trace: Payload = {
        "type": "scatter", "mode": "markers+text" if one.text else "markers", "x": _finite(one.x),
        "y": _finite(one.y),
        "marker": {"color": colour, "size": _SIZES[one.mark], "symbol": _SYMBOLS[one.mark], "line": line},
    }  # fmt: skip
    for key, at, low, high in (("error_y", one.y, one.low, one.high), ("error_x", one.x, one.left, one.right)):
        if low:
            trace[key] = {
                "type": "data", "symmetric": False, "color": colour, "thickness": 1.6, "width": 4,
                "array": _finite(tuple(h - a for h, a in zip(high, at, strict=True))),
                "arrayminus": _finite(tuple(a - w for w, a in zip(low, at, strict=True))),
            }  # fmt: skip
    if one.text:
        trace |= {"text": _words(one.text), "textposition": "top center", "textfont": {"color": colour, "size": 12}}
    return trace | _common(one.label, one.hover, one.runs)


def _shaded(one: Shaded) -> Payload:
    top = one.cap if one.cap is not None else max(one.value, default=1.0)
    marker = {
        "size": 15, "color": _finite(one.value), "colorscale": _HEAT, "cmin": 0, "cmax": top,
        "line": {"width": 1, "color": "@muted"},
        "colorbar": _colour_bar(one.unit),
    }  # fmt: skip
    trace: Payload = {"type": "scatter", "mode": "markers", "x": _finite(one.x), "y": _finite(one.y), "marker": marker}
    return trace | _common(one.label, one.hover, one.runs) | {"showlegend": False}


def _colour_bar(unit: str) -> Payload:
    title = {"text": unit, "side": "right", "font": {"size": 12, "color": "@muted"}}
    return {"title": title, "thickness": 10, "outlinewidth": 0, "tickfont": {"color": "@muted"}}


def _grid(one: Grid) -> Payload:
    return {
        "type": "heatmap", "x": list(one.x), "y": list(one.y), "z": [_finite(row) for row in one.value],
        "text": [_words(row) for row in one.printed], "texttemplate": "%{text}", "textfont": {"size": 10},
        "colorscale": _HEAT, "zmin": 0, "xgap": 2, "ygap": 2, "name": _words((one.label,))[0], "hoverinfo": "text",
        "hovertext": [_words(row) for row in (one.hover or one.printed)],
        "colorbar": _colour_bar(one.unit),
    } | ({"zmax": one.cap} if one.cap is not None else {})  # fmt: skip


def _bars(one: Bars, of: int) -> Payload:
    value, name = ("x", "y") if one.across else ("y", "x")
    trace: Payload = {
        "type": "bar", value: _finite(one.value), name: _words(one.names), "orientation": "h" if one.across else "v",
        "marker": {"color": [token(role, of) for role in one.colours]}, "text": _words(one.printed),
        "textposition": "outside", "cliponaxis": False, "textfont": {"color": "@ink"},
    }  # fmt: skip
    if one.base:
        trace["base"] = list(one.base)
    return trace | _common(one.label, one.hover or one.printed)


def _layout(figure: Figure) -> Payload:
    rules = [
        {
            "type": "line", "line": {"color": "@muted", "width": 1, "dash": "dot"},
            **({"xref": "x", "x0": r.at, "x1": r.at, "yref": "paper", "y0": 0, "y1": 1} if r.upright
               else {"yref": "y", "y0": r.at, "y1": r.at, "xref": "paper", "x0": 0, "x1": 1}),
        }
        for r in figure.rules
    ]  # fmt: skip
    named = [
        {
            "text": _words((r.text,))[0], "showarrow": False, "font": {"size": 11, "color": "@muted"},
            **({"xref": "x", "x": _place(figure, "x", r.at), "yref": "paper", "y": 1, "yanchor": "top",
                "xanchor": "left", "yshift": -14 * n} if r.upright
               else {"yref": "y", "y": _place(figure, "y", r.at), "xref": "paper", "x": 1, "xanchor": "right",
                     "yanchor": "bottom"}),
        }
        for n, r in enumerate(figure.rules) if r.text
    ]  # fmt: skip
    notes = [
        {
            "text": _words((n.text,))[0], "x": _place(figure, "x", n.x), "y": _place(figure, "y", n.y),
            "showarrow": False, "yshift": -16 if n.below else 16, "font": {"size": 12, "color": "@ink"},
        }
        for n in figure.notes
    ]  # fmt: skip
    return {
        "height": figure.height, "margin": {"l": 12, "r": 14, "t": 10, "b": 8}, "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": figure.legend,
        "font": {"color": "@ink", "size": 12.5}, "bargap": 0.35,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@muted", "font": {"color": "@ink", "size": 12},
                       "align": "left"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@main"},
        "xaxis": _axis(figure, "x"), "yaxis": _axis(figure, "y"), "shapes": rules, "annotations": notes + named,
    }  # fmt: skip


def _place(figure: Figure, side: str, value: float) -> float:
    """Annotations sit at log10 of the value on a log axis (plotly's rule; shapes take the value itself)."""
    return math.log10(value) if getattr(figure, side).log else value


def _axis(figure: Figure, side: str) -> Payload:
    axis = getattr(figure, side)
    shown: Payload = {
        "title": {"text": _words((axis.label,))[0], "standoff": 10, "font": {"size": 12.5, "color": "@muted"}},
        "automargin": True, "gridcolor": "@line", "zeroline": False, "linecolor": "@line",
        "tickfont": {"color": "@muted"},
    }  # fmt: skip
    if axis.names and not any(isinstance(one, Bars) for one in figure.series):
        last = len(axis.names) - 1
        names = {"tickmode": "array", "tickvals": list(range(last + 1)), "ticktext": _words(axis.names)}
        return shown | names | {"range": [-0.5, last + 0.5], "showgrid": False, "tickfont": {"color": "@ink"}}
    if axis.names or any(isinstance(one, Grid) for one in figure.series):
        shown |= {"type": "category", "showgrid": False, "tickfont": {"color": "@ink"}}
        if axis.names and side == "y":
            shown["autorange"] = "reversed"
        return shown
    low, high = extent(figure, side)
    marks = ticks(axis, low, high)
    shown |= {"tickmode": "array", "tickvals": marks, "ticktext": labels(axis, marks, "10<sup>{}</sup>")}
    if axis.log:
        return shown | {"type": "log", "range": [math.log10(low), math.log10(high)]}
    return shown | {"range": [low, high]}
