"""Units of size against each other: the unit of the truth forecasts well, one that bends away from it does not."""

from __future__ import annotations

import numpy as np
import pytest

from forescale.base.records.laws import ScaleCurve
from forescale.base.shape import ModelShape
from forescale.scaling.fit import prepare
from forescale.scaling.scales import compare_units
from forescale.scaling.table import RunTable, read_runs

WIDTHS = ((2, 64), (3, 96), (4, 128), (6, 192), (8, 256), (10, 384), (12, 512), (16, 640), (20, 896))


def row(shape: ModelShape, budget: float) -> dict[str, float]:
    """A run whose loss follows M and tokens exactly; its embeddings outweigh its body where it is small."""
    m = shape.flops_per_token
    tokens = budget / m
    loss = 1.7 + 60.0 / m**0.28 + 200.0 / tokens**0.3
    return {
        "flops_per_token": m, "params": shape.params, "params_non_embedding": shape.params_non_embedding,
        "tokens": tokens, "budget": budget, "loss": loss,
    }  # fmt: skip


@pytest.fixture(scope="module")
def table() -> RunTable:
    shapes = [
        ModelShape(
            n_layer=n, d_model=w, n_head=w // 32, n_kv_head=w // 32, d_ffn=8 / 3 * w, vocab_size=32000, seq_len=512
        )
        for n, w in WIDTHS
    ]
    rows = [
        row(shapes[middle + step], 3e14 * 4.0**middle) for middle in range(1, 7) for step in (-1, 0, 1, 2)
    ]  # fmt: skip
    return read_runs(rows)


@pytest.fixture(scope="module")
def units(table: RunTable) -> tuple[dict[str, float], list[ScaleCurve]]:
    cells = prepare(table).cells
    first = np.array([members[0] for members in cells.members])
    return compare_units({scale: sizes[first] for scale, sizes in table.sizes.items()}, cells)


def test_embeddings_that_do_no_work_spoil_a_unit(units: tuple[dict[str, float], list[ScaleCurve]]) -> None:
    errors, curves = units
    assert {curve.scale for curve in curves} == set(errors) == {"M", "N1", "N2"}
    assert errors["M"] < 0.005
    assert errors["N2"] > 4 * errors["M"]
    far = {curve.scale: max(abs(error) for _, error in curve.errors) for curve in curves}
    assert far["N2"] > 4 * far["M"]


def test_every_unit_hides_the_same_runs(units: tuple[dict[str, float], list[ScaleCurve]]) -> None:
    _, curves = units
    assert len({curve.hidden_above for curve in curves}) == 1
    assert len({tuple(run.hidden for run in curve.runs) for curve in curves}) == 1
    assert len({tuple(run.loss for run in curve.runs) for curve in curves}) == 1
    for curve in curves:
        assert any(run.hidden for run in curve.runs)
        assert [run.hidden for run in curve.runs] == sorted(run.hidden for run in curve.runs), (
            "only the largest are hidden"
        )
        assert all(ratio > 1 for ratio, _ in curve.errors)


def test_a_frontier_lies_below_its_own_runs_and_falls(units: tuple[dict[str, float], list[ScaleCurve]]) -> None:
    (own,) = [curve for curve in units[1] if curve.scale == "M"]
    computes, losses = np.array(own.curve).T
    assert (np.diff(losses) < 0).all()
    for run in own.runs:
        at = float(np.interp(np.log(run.flops), np.log(computes), losses))
        assert at <= run.predicted * (1 + 1e-4), "no split of the same compute is better than the best"
        assert run.predicted == pytest.approx(run.loss, rel=0.01)
