"""What people read: every verb's layout says its numbers, their units and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from forescale.base.records.compare import Better, Comparison, CorpusExponent, Crossing
from forescale.base.records.demo import DemoResult
from forescale.base.records.evaluation import EvalResult, TaskScore
from forescale.base.records.laws import (
    Allocation,
    ComputeLaw,
    Laws,
    LeftOut,
    NoisePoint,
    PowerLaw,
    RunsSummary,
    SelfCheck,
    Surface,
)
from forescale.base.records.ledger import Coverage, LedgerEntry, LedgerView
from forescale.base.records.suggestion import SuggestedRun, Suggestion
from forescale.base.records.watch import InFlight, Watch
from forescale.cli import tables
from forescale.scaling.plan import plan

LAWS = Laws(
    scale="M", unit="bpb", level=0.9, runs=RunsSummary(used=24, left_out=[LeftOut(row=7, line=8, reason="diverged")]),
    surface=Surface(form="chinchilla", E=1.8, A=40.0, alpha=0.28, B=80.0, beta=0.33, intervals={"E": (1.7, 1.9)}),
    allocation=Allocation(model_exponent=0.52, data_exponent=0.48, model_coefficient=0.17, data_coefficient=5.8),
    learning_rate=PowerLaw(coefficient=0.31, exponents={"flops": -0.125}), compute=ComputeLaw(E=1.7, k=9.0, alpha=0.1),
    noise=[NoisePoint(flops=1e12, seed_sd=0.0042, replicates=4)], regime="scaling", smallest_rung=3e11,
    self_check=SelfCheck(held_out_above=1e12, median_error=0.008, coverage=0.875, n=8), warnings=["no batch law"],
)  # fmt: skip

ENTRY = LedgerEntry(
    plan="target", run="target", kind="sealed", digest="d", sealed_at="2026-01-01", target_flops=1e13,
    extrapolation=10.0, predicted=2.0, interval=(1.9, 2.1), outcome=1.98, error=0.0101, inside=True, counts=True,
)  # fmt: skip

RESULTS: dict[str, tuple[Any, list[str]]] = {
    "fit": (LAWS, [
        "24 runs used, 0 only for the laws of rate and batch, 1 left out · size M · bits/byte", "regime: scaling", "3e+11 FLOPs", "diverged",
        "Laws, with 90% intervals", "loss (chinchilla)", "1.7 to 1.9", "model_exponent", "-0.125", "0.420%",
        "median error was 0.80%, 88% of 8 inside",
    ]),
    "plan": (plan("deepseek", flops=1e20), ["FLOPs a token, M", "laws say", "parameters", "device-hours", "GiB"]),
    "compare": (
        Comparison(
            corpora={"web": LAWS, "books": LAWS}, better=[Better(flops=1e15, order=["books", "web"], probability=0.83, repeats={"web": 3.25})],
            exponents={name: CorpusExponent(model_exponent=0.5, interval=(0.4, 0.6)) for name in ("web", "books")},
            crossings=[Crossing(pair=("web", "books"), flops=2e14)],
        ),
        ["books, web", "83%", "tokens repeated", "web 3.25 ×", "0.4 to 0.6", "web and books change places at 2e+14 FLOPs"],
    ),
    "ledger": (
        LedgerView(
            entries=[ENTRY], coverage=Coverage(inside=1, of=1, interval=(0.05, 1.0)), median_error=0.0101,
            chain_ok=False, broken_line=3, digest="abc",
        ),
        ["+1.01%", "1.9 to 2.1", "inside: 1 of 1", "CHAIN BROKEN at line 3"],
    ),
    "ladder suggest": (
        Suggestion(
            target_flops=1e15, width_now=0.05, width_after=0.03, flops=1e13,
            runs=[SuggestedRun(flops_per_token=1e6, tokens=1e7, flops=1e13, lr=0.003, batch_tokens=4096.0, seed=1)],
        ),
        ["1e+13", "0.003", "4,096", "5.00% now, 3.00% after"],
    ),
    "watch": (
        Watch(
            source="log.jsonl", format="forescale", unit="bpb", step=500.0, total_steps=1000.0, progress=0.5, loss=2.2,
            final=InFlight(step=500.0, median=2.0, interval=(1.95, 2.05)), level=0.9, band=(1.8, 1.9), left_since=300.0,
        ),
        ["step 500 of 1,000 (50%)", "final loss 2 bits/byte, 90% interval 1.95 to 2.05", "OUTSIDE its band", "since step 300"],
    ),
    "demo": (
        DemoResult(
            report="demo/report/index.html", chat_model="demo/runs/dpo", forecast=2.0, interval=(1.9, 2.1), outcome=2.2,
            unit="bpb", regime="scaling", extrapolation={"flops": 10.0}, ladder_runs=30,
            flops={"ladder": 1e12, "ladder_total": 1e13, "target": 1e13}, seconds={"ladder": 300.0, "target": 75.0},
            corpus={"documents": 10, "bytes": 33_000_000, "removed": {"near": 2}, "sha256": "abc"},
        ),
        ["33.0 MB", "near 2", "5 min 0 s", "1 min 15 s", "forecast: 2 bits/byte, interval 1.9 to 2.1",
         "outcome:  2.2 bits/byte (error -9.09%, OUTSIDE)", "(10 ×)", "forescale chat demo/runs/dpo"],
    ),
    "evaluate": (
        EvalResult(
            model="runs/sft", weights_sha256="w", precision="fp32",
            tasks={"ends": TaskScore(metric="share", score=0.9, interval=(0.85, 0.95), n=100, protocol="generation")},
        ),
        ["ends", "0.85 to 0.95", "100", "generation"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(RESULTS))
def test_layouts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    record, wanted = RESULTS[name]
    tables.show(name, record.to_json())
    out, err = capsys.readouterr()
    missing = [words for words in wanted if words not in out]
    assert not missing, out
    assert err.count("warning: ") == len(getattr(record, "warnings", []))


def test_laws_that_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every law may be missing; the layout then says only what there is."""
    tables.show("fit", Laws(runs=RunsSummary(used=3), warnings=["too few budgets for a surface"]).to_json())
    out, err = capsys.readouterr()
    assert "3 runs used" in out
    assert "Laws, with" not in out
    assert "too few budgets" in err


def test_a_flat_ladder_has_a_floor_and_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    surface = Surface(form="flat", E=4.2, A=0.0, alpha=0.0, B=0.0, beta=0.0, intervals={"E": (4.1, 4.3)})
    said = "flat: the loss does not fall measurably: nothing to learn. No allocation and no compute law"
    tables.show("fit", Laws(runs=RunsSummary(used=9), surface=surface, warnings=[said]).to_json())
    out = capsys.readouterr().out
    assert "4.1 to 4.3" in out
    assert "no slopes: the loss does not fall measurably: nothing to learn\n" in out
    assert "alpha" not in out
    assert "gamma" not in out


def test_layouts_are_for_verbs_that_there_are() -> None:
    from forescale.cli.docs import verbs

    assert set(tables.LAYOUTS) <= {name for name, _ in verbs()}


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show("anything", {"text": "[bold]x[/bold] [model]", "rows": [{"a": "[red]", "b": None}]})
    out = capsys.readouterr().out
    assert "[bold]x[/bold] [model]" in out
    assert "[red]" in out
