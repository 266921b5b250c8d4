"""Figure -> matplotlib -> SVG and PNG, for papers. Drawn on the Agg and SVG canvases: no window, no global state."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from forescale.base.errors import MissingExtraError
from forescale.base.files import write_atomic
from forescale.report.colours import THEMES, resolve, token
from forescale.report.figure import Band, Bars, Figure, Grid, Line, Points, Series, Shaded
from forescale.report.interactive import n_ordered
from forescale.report.ticks import extent, labels, ticks

_MARKS = {"dot": "o", "ring": "o", "star": "*", "diamond": "D", "small": "o"}
_AREA = {"dot": 30.0, "ring": 95.0, "star": 120.0, "diamond": 42.0, "small": 14.0}
_STYLE = {
    "font.family": "sans-serif", "font.size": 9.0, "axes.linewidth": 0.7, "axes.spines.top": False,
    "axes.spines.right": False, "svg.hashsalt": "forescale", "legend.frameon": False, "legend.fontsize": 8.0,
    "axes.titlesize": 10.0, "axes.titleweight": "bold", "axes.titlelocation": "left", "svg.fonttype": "path",
}  # fmt: skip


def write(figure: Figure, folder: Path) -> tuple[Path, Path]:
    """`NAME.svg` and `NAME.png` (200 dots an inch) in `folder`; the same bytes for the same figure."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise MissingExtraError.of("report", "a plot") from None
    with rc_context(_STYLE):  # type: ignore[arg-type]
        canvas = Canvas(figsize=(8.0 if figure.wide else 5.6, 3.9 * figure.height / 380), layout="constrained")
        FigureCanvasAgg(canvas)
        _draw(figure, canvas.add_subplot())
        paths = (folder / f"{figure.name}.svg", folder / f"{figure.name}.png")
        for path in paths:
            extra: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 200}
            buffer = BytesIO()
            canvas.savefig(buffer, format=path.suffix[1:], facecolor="white", **extra)
            write_atomic(path, buffer.getvalue())
    return paths


def _plain(text: str) -> str:
    """Words as they are: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _draw(figure: Figure, axes: Any) -> None:
    of = n_ordered(figure)
    axes.set_title(_plain(figure.title))
    axes.grid(True, color=resolve("@line"), linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("x", "y"):
        _dress(figure, axes, side)
    for one in figure.series:
        _series(one, axes, of)
    for rule in figure.rules:
        draw = axes.axvline if rule.upright else axes.axhline
        draw(rule.at, color=resolve("@muted"), linewidth=0.8, linestyle=":")
        at = {"xy": (rule.at, 1.0), "xycoords": ("data", "axes fraction")}
        if not rule.upright:
            at = {"xy": (0.99, rule.at), "xycoords": ("axes fraction", "data")}
        aligned = {"va": "top", "ha": "left"} if rule.upright else {"va": "bottom", "ha": "right"}
        axes.annotate(_plain(rule.text), **at, **aligned, fontsize=7.5, color=resolve("@muted"), xytext=(2, -2),
                      textcoords="offset points")  # fmt: skip
    for note in figure.notes:
        axes.annotate(_plain(note.text), (note.x, note.y), xytext=(0, -12 if note.below else 9), ha="center",
                      textcoords="offset points", fontsize=8, color=resolve("@ink"))  # fmt: skip
    named = [one for one in figure.series if one.label and not isinstance(one, Grid | Shaded | Bars)]
    if figure.legend and named and any(isinstance(one, Shaded) for one in figure.series):
        axes.figure.legend(loc="outside lower center", ncols=3)  # marks fill the whole plot: no room inside
    elif figure.legend and named:
        axes.legend(loc="best", ncols=2 if len(named) > 5 else 1)


def _dress(figure: Figure, axes: Any, side: str) -> None:
    axis = getattr(figure, side)
    target = axes.xaxis if side == "x" else axes.yaxis
    target.label.set_color(resolve("@muted"))
    target.set_label_text(_plain(axis.label))
    target.set_tick_params(colors=resolve("@muted"), length=2.5)
    if axis.names or any(isinstance(one, Grid) for one in figure.series):
        target.grid(False)
        if axis.names and not any(isinstance(one, Bars) for one in figure.series):
            target.set_ticks(range(len(axis.names)), labels=[_plain(name) for name in axis.names])
            (axes.set_xlim if side == "x" else axes.set_ylim)(-0.5, len(axis.names) - 0.5)
        elif axis.names and side == "y":
            target.set_inverted(True)
        return
    low, high = extent(figure, side)
    if axis.log:
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    marks = ticks(axis, low, high)
    target.set_ticks(marks, labels=labels(axis, marks, "$10^{{{}}}$"))
    target.set_ticks([], minor=True)
    (axes.set_xlim if side == "x" else axes.set_ylim)(low, high)


def _series(one: Series, axes: Any, of: int) -> None:
    match one:
        case Points():
            _points(one, axes, resolve(token(one.role, of)))
        case Line():
            axes.plot(one.x, one.y, color=resolve(token(one.role, of)), linewidth=0.6 if one.role == "muted" else 1.6,
                      label=_plain(one.label) or None,
                      linestyle="--" if one.dash else "-")  # fmt: skip
        case Band():
            axes.fill_between(one.x, one.low, one.high, color=resolve(token(one.role, of)), alpha=0.16, linewidth=0,
                              label=_plain(one.label) or None)  # fmt: skip
        case Shaded():
            drawn = axes.scatter(one.x, one.y, c=one.value, cmap=_heat(), vmin=0, vmax=one.cap, s=80,
                                 edgecolors=resolve("@muted"), linewidths=0.6)  # fmt: skip
            axes.figure.colorbar(drawn, ax=axes, label=_plain(one.unit)).outline.set_visible(False)
        case Grid():
            _grid(one, axes)
        case Bars():
            _bars(one, axes, of)


def _points(one: Points, axes: Any, colour: str) -> None:
    for side, at, low, high in (("yerr", one.y, one.low, one.high), ("xerr", one.x, one.left, one.right)):
        if low:
            below = [max(0.0, a - w) for a, w in zip(at, low, strict=True)]
            above = [max(0.0, h - a) for a, h in zip(at, high, strict=True)]
            bars: Any = {side: (below, above)}
            axes.errorbar(one.x, one.y, fmt="none", ecolor=colour, elinewidth=1.1, capsize=2.5, **bars)
    ring = one.mark == "ring"
    axes.scatter(one.x, one.y, s=_AREA[one.mark], marker=_MARKS[one.mark], label=_plain(one.label) or None, zorder=3,
                 facecolors="none" if ring else colour, edgecolors=colour if ring else "white",
                 linewidths=1.4 if ring else 0.6)  # fmt: skip
    for text, x, y in zip(one.text, one.x, one.y, strict=False):
        axes.annotate(_plain(text), (x, y), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8,
                      color=colour)  # fmt: skip


def _heat() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("heat", THEMES["light"]["heat"])


def _grid(one: Grid, axes: Any) -> None:
    drawn = axes.imshow(one.value, cmap=_heat(), vmin=0, vmax=one.cap, aspect="auto", origin="lower")
    axes.set_xticks(range(len(one.x)), [_plain(name) for name in one.x])
    axes.set_yticks(range(len(one.y)), [_plain(name) for name in one.y])
    middle = (one.cap or max(max(row) for row in one.value)) * 0.45
    for j, row in enumerate(one.printed):
        for i, cell in enumerate(row):
            dark = one.value[j][i] < middle
            axes.text(i, j, _plain(cell), ha="center", va="center", fontsize=6.5, color="white" if dark else "#1c2230")
    axes.figure.colorbar(drawn, ax=axes, label=_plain(one.unit)).outline.set_visible(False)


def _bars(one: Bars, axes: Any, of: int) -> None:
    colours = [resolve(token(role, of)) for role in one.colours]
    base = one.base or (0.0,) * len(one.value)
    names = [_plain(name) for name in one.names]
    place = range(len(names))
    if one.across:
        axes.barh(place, one.value, left=base, color=colours, height=0.65)
        axes.set_yticks(place, names)
    else:
        axes.bar(place, one.value, bottom=base, color=colours, width=0.65)
        axes.set_xticks(place, names)
    for at, text in zip(place, one.printed, strict=False):
        end = base[at] + max(one.value[at], 0.0)
        where = (end, at) if one.across else (at, end)
        axes.annotate(_plain(text), where, xytext=(3, 0) if one.across else (0, 3), textcoords="offset points",
                      va="center" if one.across else "bottom", ha="left" if one.across else "center",
                      fontsize=8)  # fmt: skip
