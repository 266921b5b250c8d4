"""A made-up story with a known law, as the rooms would tell it: the same kinds of records, nothing kept on disk."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from forescale.base.records.align import AlignRecord, CurvePoint, PreferSummary, StageRecord
from forescale.base.records.corpus import ContactRate, CorpusSplit, CorpusSummary, SourceCount
from forescale.base.records.evaluation import EvalResult, TaskScore
from forescale.base.records.forecast import Assumption, Extrapolation, Forecast
from forescale.base.records.laws import (
    Allocation,
    ComputeLaw,
    IsoMinimum,
    Largest,
    Laws,
    LeftOut,
    NoisePoint,
    PowerLaw,
    RungReport,
    RunsSummary,
    ScaleCurve,
    ScaleRun,
    SelfCheck,
    Surface,
)  # fmt: skip
from forescale.base.records.ledger import Coverage, LedgerEntry, LedgerView
from forescale.base.records.loss import LossSum
from forescale.base.records.plan import Cost, LawsSay, Plan, PlanModel, PlanSchedule
from forescale.base.records.report import ReportData, Sample, TrainingLog
from forescale.base.records.run import RunRecord
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.base.shape import ModelShape

E, A, ALPHA, B, BETA = 0.62, 96.0, 0.36, 130.0, 0.345
BUDGETS = (1e11, 3e11, 1e12)
TARGET = 1e13


def truth(size: float, tokens: float) -> float:
    return E + A * size**-ALPHA + B * tokens**-BETA


def best_split(flops: float) -> tuple[float, float]:
    size = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * flops ** (BETA / (ALPHA + BETA))
    return size, flops / size


def shape(width: int) -> ModelShape:
    return ModelShape(
        n_layer=3, d_model=width, n_head=2, n_kv_head=2, d_ffn=8 * width // 3, vocab_size=512, seq_len=128
    )


def run_row(
    name: str, budget: float, size: float, lr: float, batch: float, seed: int, rng: np.random.Generator
) -> dict:
    tokens = budget / size
    rate, wanted = 0.3118 * budget**-0.145, 0.29 * budget**0.33
    off = 0.011 * math.log(lr / rate) ** 2 + 0.007 * math.log(batch / wanted) ** 2
    bpb = truth(size, tokens) * (1 + off) * math.exp(rng.normal(0, 0.003))
    return {
        "run": name, "trunk": name, "group": "docs", "budget": budget, "flops": budget, "flops_per_token": size,
        "tokens": round(tokens), "params": round(size / 6) + 65536, "n_layer": 3, "d_model": 32 + 16 * seed, "lr": lr,
        "batch_tokens": round(batch), "steps": round(tokens / batch), "seed": seed, "loss": bpb * 1.4, "bpb": bpb,
        "bigram_bpb": 2.8, "seconds": budget / 2e10, "status": "finished", "seq_len": 128, "vocab_size": 512,
    }  # fmt: skip


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    rng = np.random.default_rng(1)
    made = []
    for n, budget in enumerate(BUDGETS):
        middle, _ = best_split(budget)
        rate, batch = 0.3118 * budget**-0.145, 0.29 * budget**0.33
        for k, factor in enumerate((0.35, 0.6, 1.0, 1.7, 2.9)):
            made.append(run_row(f"b{n}-size{k}", budget, factor * middle, rate, batch, 0, rng))
        for i, lr in enumerate((0.3, 0.55, 1.0, 1.8, 3.2)):
            for j, size in enumerate((0.4, 1.0, 2.5)):
                made.append(run_row(f"b{n}-hyper{i}{j}", budget, middle, lr * rate, size * batch, 1, rng))
        made.append(run_row(f"b{n}-seed2", budget, middle, rate, batch, 2, rng))
    made.append({**made[0], "run": "b0-diverged", "status": "diverged", "bpb": None, "loss": None})
    return made


@pytest.fixture(scope="session")
def laws() -> Laws:
    minima = []
    for flops in BUDGETS:
        size, tokens = best_split(flops)
        loss = truth(size, tokens)
        minima.append(
            IsoMinimum(
                flops=flops, size=size * 1.05, tokens=tokens / 1.05, loss=loss, size_interval=(0.8 * size, 1.3 * size),
                loss_interval=(0.996 * loss, 1.004 * loss), runs=5,
            )
        )  # fmt: skip
    one, two = best_split(1e12)[0], best_split(1e11)[0]
    a = math.log(one / two) / math.log(10)
    k = one / 1e12**a
    return Laws(
        scale="M", unit="bpb", runs=RunsSummary(used=62, left_out=[LeftOut(row=64, line=65, reason="diverged")]),
        surface=Surface(form="generalised", E=E, A=A, alpha=ALPHA, B=B, beta=BETA, intervals={"E": (0.4, 0.8), "alpha": (0.3, 0.4)}),
        allocation=Allocation(model_exponent=a, data_exponent=1 - a, model_coefficient=k, data_coefficient=1 / k,
                              intervals={"model_exponent": (a - 0.04, a + 0.05), "data_exponent": (0.95 - a, 1.04 - a)}),
        learning_rate=PowerLaw(coefficient=0.3118, exponents={"flops": -0.145}, residual_sd=0.2, band=0.006, n=9,
                               conditional_on={"schedule": "multi_step", "weight_decay": 0.1}, held_out=0.0012,
                               intervals={"coefficient": (0.1, 0.9), "flops": (-0.185, -0.105)},
                               correlation={"coefficient,flops": -0.995}),
        batch=PowerLaw(coefficient=0.29, exponents={"flops": 0.33}, residual_sd=0.25, band=0.006, n=9),
        compute=ComputeLaw(E=E, k=60.0, alpha=0.14), noise=[NoisePoint(flops=1e12, seed_sd=0.003, replicates=2)],
        regime="scaling", smallest_rung=1e11, minima=minima, largest=Largest(flops=1e12, size=4e5, tokens=4e6),
        self_check=SelfCheck(held_out_above=3e11, median_error=0.0061, coverage=0.92, n=21),
        rungs=[RungReport(flops=c, admissible=True, reason="below the bigram entropy", best_loss=2.1, bigram=2.8, steps=2100) for c in BUDGETS],
        scales={"N1": 0.009, "N2": 0.021, "M": 0.006}, scale_curves=[scale_curve("N1", 0.6), scale_curve("N2", 1.7), scale_curve("M", 1.0)], warnings=["weight decay is inert in a ladder this small"],
    )  # fmt: skip


def scale_curve(scale: Literal["M", "N1", "N2"], shift: float) -> ScaleCurve:
    """A frontier in units of `shift` times the true compute, which says the hidden runs too high or too low."""
    said = {
        c: truth(*best_split(c)) * (1 + 0.01 * (1 - shift) * max(0.0, math.log10(c / 3e11))) for c in (*BUDGETS, 3e12)
    }
    runs = [
        ScaleRun(flops=shift * c, loss=truth(*best_split(c)), predicted=y, hidden=c > 3e11) for c, y in said.items()
    ]
    return ScaleCurve(
        scale=scale,
        hidden_above=3e11,
        curve=[(shift * c, y) for c, y in said.items()],
        runs=runs,
        errors=[(r.flops / shift / 3e11, r.predicted / r.loss - 1) for r in runs if r.hidden],
    )


def forecast_at(flops: float) -> Forecast:
    size, tokens = best_split(flops)
    loss = truth(size, tokens)
    wide = 0.008 + 0.012 * max(0.0, math.log10(flops / 1e12))
    return Forecast(
        loss=loss, interval=(loss * (1 - wide), loss * (1 + wide)), level=0.9, unit="bpb", scale="M", model_scale=size,
        tokens=tokens, flops=flops, learning_rate=0.004, batch_tokens=4096, regime="scaling", source="ladder docs",
        extrapolation=Extrapolation(flops=flops / 1e12, size=3.1, tokens=3.4),
        assumptions=[Assumption(what="unique tokens", ladder=6.1e6, target=2.2e7, charged=0.001)],
    )  # fmt: skip


@pytest.fixture(scope="session")
def logs() -> list[TrainingLog]:
    rng = np.random.default_rng(2)
    made = []
    for name, steps, width in (("target", 4000, 4096), ("b2-size2", 900, 1024)):
        lines = []
        for step in range(0, steps, 10):
            share = step / steps
            factor = min(1.0, (step + 1) / 80) * (1 if share < 0.8 else 0.316 if share < 0.9 else 0.1)
            bpb = 1.33 + 3.4 * (1 + step / 12) ** -0.42 + (0.05 if factor > 0.5 else 0.0) + rng.normal(0, 0.02)
            lines.append({"step": step, "tokens": (step + 1) * width, "loss": bpb * 1.4, "bpb": bpb, "lr": 0.0042 * factor,
                          "grad_norm": 0.4, "tokens_per_second": 24000 + 900 * rng.normal(), "seconds": step * 0.17})  # fmt: skip
        made.append(TrainingLog(run=name, path=f"../runs/{name}/log.jsonl", rows=lines))
    return made


def scores(model: str, bits: float, repeats: float, ends: float) -> EvalResult:
    def one(metric: str, score: float, half: float, protocol: str) -> TaskScore:
        return TaskScore(metric=metric, score=score, interval=(score - half, score + half), n=400, protocol=protocol)

    return EvalResult(
        model=model, weights_sha256="ab" * 32, precision="fp32",
        tasks={"bits_per_byte": one("bits per byte", bits, 0.012, "language-modelling"),
               "answers": one("bits per byte", bits - 0.1, 0.03, "language-modelling"),
               "repetition": one("share", repeats, 0.03, "generation"), "ends": one("share", ends, 0.05, "generation")},
    )  # fmt: skip


@pytest.fixture(scope="session")
def story(rows: list[dict], laws: Laws, logs: list[TrainingLog]) -> ReportData:
    forecast = forecast_at(TARGET)
    model = shape(96)
    tokens = round(TARGET / model.flops_per_token)
    target = RunRecord(
        run="target", trunk="target", shape=model, tokens=tokens, steps=4000, batch_tokens=4096, learning_rate=0.0042,
        warmup_steps=80, weight_decay=0.1, seed=7, seconds=412.0, tokens_per_second=24100.0, hardware="2 CPU cores",
        validation=LossSum(nats=math.log(2) * forecast.loss * 1.006 * 524288, tokens=262144, bytes=524288),
    )  # fmt: skip
    plan = Plan(
        flops_asked=TARGET, flops=TARGET, flops_per_token=model.flops_per_token, tokens=tokens, epochs=1.0,
        model=PlanModel.of(model), batch_tokens=4096, learning_rate=0.0042, warmup_steps=80, steps=4000,
        schedule=PlanSchedule(kind="multi_step", points=[(0, 1), (0.8, 0.316), (0.9, 0.1)]), forecast=forecast, layout=None,
        checkpoint_gib=0.01, cost=Cost(device_hours=0.11), laws="ladder docs", device="this machine",
        laws_say=LawsSay(flops_per_token=1.1e6, tokens=9e6, batch_tokens=5570.0, learning_rate=0.00405),
    )  # fmt: skip
    entry = LedgerEntry(
        plan="p1", run="target", kind="sealed", digest="c0ffee" * 10 + "abcd", sealed_at="2030-01-02T03:04:05Z",
        target_flops=TARGET, extrapolation=10.0, predicted=forecast.loss, interval=forecast.interval,
        outcome=forecast.loss * 1.006, error=1 / 1.006 - 1, inside=True, counts=True, level=0.9, unit="bpb",
    )  # fmt: skip
    missed = entry.model_copy(
        update={"plan": "p0", "run": "older", "outcome": forecast.loss * 1.05, "inside": False, "error": 1 / 1.05 - 1}
    )
    planned = entry.model_copy(
        update={"plan": "p2", "run": None, "kind": "planned", "outcome": None, "error": None, "inside": None}
    )
    curve = [CurvePoint(step=n, loss=2.2 + 1.5 / (1 + n / 20), learning_rate=1e-4) for n in range(120)]
    stage = StageRecord(data="pairs.jsonl", data_sha256="0" * 64, examples=3900, steps=120, curve=curve)
    bits = LossSum(nats=1000.0, tokens=700, bytes=900)
    return ReportData(
        title="From documentation to a small chat model", command="forescale demo --minutes 8 --seed 7", version="0.1.0",
        made_at="2030-01-02 03:20 UTC", machine="2 CPU cores", seed=7,
        corpus=CorpusSummary(
            documents=31210, bytes=24_100_000, removed={"near_duplicate": 3150, "exact_duplicate": 2210, "too_short": 1480, "repeated_lines": 260},
            removed_bytes={"near_duplicate": 3_000_000}, sha256="deadbeef" * 8, files=4100, read_documents=38310,
            read_bytes=33_400_000, train=CorpusSplit(documents=29900, bytes=23_100_000),
            validation=CorpusSplit(documents=1310, bytes=1_000_000, sources=["argparse"]), split_by="sources",
            contact=ContactRate(n=8, ngrams=150_000, rate=0.034, documents_touched=212),
            sources={"numpy": SourceCount(documents=9000, bytes=7_000_000, kept_documents=7000, kept_bytes=5_500_000),
                     "stdlib": SourceCount(documents=12000, bytes=9_000_000, kept_documents=11000, kept_bytes=8_500_000)},
            quarantined=1, quarantine=[], other_files={".so": 31},
        ),
        tokens=TokensSummary(
            vocab_size=512, dtype="uint16", eos_id=1, train=SplitCount(documents=29900, tokens=11_400_000, bytes=23_100_000),
            validation=SplitCount(documents=1310, tokens=500_000, bytes=1_000_000), unigram_nats=5.1, bigram_nats=3.9,
            unigram_bpb=3.61, bigram_bpb=2.80, tokenizer="1f" * 8, validation_id="9a" * 8,
        ),
        runs=rows, laws=laws, plan=plan, band=[forecast_at(c) for c in np.geomspace(1e11, 1.6e13, 24)], target=target,
        ledger=LedgerView(entries=[missed, entry, planned], coverage=Coverage(inside=1, of=2, interval=(0.03, 0.97)),
                          median_error=0.027, chain_ok=True, digest="f0" * 32),
        align=[AlignRecord(kind="sft", status="finished", parent="runs/target/weights", weights="runs/sft/weights", stages=[stage],
                           learning_rate=1e-4, batch=32, heldout_before=bits, heldout_after=bits, seconds=41.0),
               AlignRecord(kind="dpo", status="skipped", reason="only 21 usable pairs, 32 are needed", parent="runs/sft/weights")],
        prefer=PreferSummary(prompts=60, samples=240, ended=101, repeating=44, pairs=21, by_reason={"ends": 18, "repeats": 3}),
        evaluations={"pretrained": scores("target", 1.46, 0.31, 0.04), "sft": scores("sft", 1.51, 0.12, 0.71)},
        samples=[Sample(stage="pretrained", prompt="def open(path):", answer="The path to the file that is opened by the path", ended=False),
                 Sample(stage="sft", prompt="def open(path):", answer="Open a file and return it.", ended=True)],
        logs=logs, seconds={"corpus": 21.0, "tokenizer": 9.5, "ladder": 233.0, "laws": 2.4, "target": 412.0, "tuning": 71.0, "report": 3.0},
        paths={"corpus": "../corpus", "laws": "../laws/laws.json", "ladder": "../ladders/demo/runs.csv", "runs/target": "../runs/target",
               **{f"runs/{row['run']}": f"../ladders/demo/{row['run']}" for row in rows}},
    )  # fmt: skip
