"""The whole chain on real text: one function, phase after phase, each of them a verb of the workspace."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from forescale.base.errors import InputError
from forescale.base.files import write_atomic
from forescale.base.records.corpus import CorpusSummary, Quarantined
from forescale.base.records.demo import DemoResult
from forescale.base.records.laws import Laws
from forescale.base.records.plan import Plan
from forescale.base.records.run import RunRecord
from forescale.base.runtime import machine, set_worker_environment
from forescale.project.display import Display
from forescale.project.phases import Phases, inputs_digest
from forescale.project.project import Project
from forescale.project.timing import Speeds, measure
from forescale.project.workspace import RECIPE_FILE

APART = 10.05
"""The target's compute over the ladder's largest run; a little over 10, so that rounding never brings it below."""
TARGET = "target"
LADDER = "ladder"
TARGET_SEED = 7_777
"""Added to the demo's seed: the target is a new run, on a seed that no run of the ladder had."""


def demo(
    *,
    minutes: float = 8.0,
    text: Path | None = None,
    sft: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    overrides: tuple[str, ...] = (),
    display: Display | None = None,
) -> DemoResult:
    """Text to report in one go. `minutes` is the time for ladder and target; the rest is not counted.

    Started again with the same options it goes on where it stopped, and repeats nothing that is finished.
    """
    folder = (out or Path("demo")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    display = display or Display()
    display.headline(f"forescale demo: {minutes:g} minutes for ladder and target on {machine()}")
    set_worker_environment(1)  # before torch is opened: tiny models are tuned on one thread, without spinning
    _write_recipe(folder, seed)
    options = {"minutes": minutes, "text": text, "sft": sft, "seed": seed, "overrides": overrides}
    phases = Phases(folder / ".phases.json", display, inputs_digest(options, text, sft, folder / RECIPE_FILE))
    project = Project(folder, overrides)
    with phases("text", "collecting the text"):
        _collect_text(project, text)
    with phases("corpus", "read, deduplicate, filter, split"):
        corpus = project.clean()
        display.corpus(corpus)
    with phases("tokenizer", "byte-level BPE, then token shards"):
        project.vocab()
        tokens = project.tokenize()
        display.tokens(tokens)
    with phases("pairs", "questions and answers from signatures and docstrings"):
        for bad in _make_pairs(project, corpus, text, sft):
            display.note(f"{bad.file}, line {bad.line}: {bad.reason}; left out")
    speeds, budgets = _ladder_budgets(project, phases, minutes, seed)
    with phases("ladder", "small runs"):
        ladder = project.ladder(LADDER, budgets=budgets, seed=seed, progress=display.ladder(speeds))
    with phases("laws", "fit"):
        laws = project.fit(LADDER)
        display.laws(laws)
        refuse_without_forecast(laws)
    with phases("plan", "plan and sealed forecast"):
        plan = _plan(project, phases, ladder.largest_flops, minutes, speeds, tokens.train.tokens)
        display.plan(plan)
    with phases("target", "the big run"):
        # a small batch may have an odd number of sequences: then fewer ranks share it
        ranks = math.gcd(plan.batch_tokens // plan.model.seq_len, speeds.ranks)
        target = project.pretrain(
            TARGET, processes=ranks, seed=seed + TARGET_SEED, on_progress=display.training("target")
        )
        assert isinstance(target, RunRecord)
        display.outcome(plan, target)
    chat_model = align_and_evaluate(project, phases)
    with phases("report", "one page"):
        report = project.report(phases=phases.seconds)
    result = _result(project, plan, laws, target, ladder.model_dump(), corpus.to_json(), phases, report, chat_model)
    write_atomic(folder / "demo.json", json.dumps(result.to_json(), indent=1).encode())
    return result


def refuse_without_forecast(laws: Laws) -> None:
    """A ladder too small for any law ends the demo here: nothing could be sealed, so no run could test it."""
    if laws.surface is not None or laws.predictive is not None:
        return
    raise InputError(
        "the ladder is too small to forecast any run",
        why="; ".join(text for text in laws.warnings if "no surface" in text),
        remedy="more text (--text DIR) lets the ladder grow, and so do more --minutes",
    )


def align_and_evaluate(project: Project, phases: Phases) -> str:
    """SFT, DPO and the evaluation before and after each; gives the chat model's run."""
    pairs, heldout = project.default_pairs("train"), project.default_pairs("heldout")
    if pairs is None:
        raise InputError("there are no question/answer pairs", remedy="give --sft FILE.jsonl with messages")
    chat_model = "sft"
    with phases("sft", "answers to questions"):
        project.sft(pairs, from_=TARGET, name="sft")
    with phases("dpo", "preferences between the model's own answers"):
        ranked = project.prefer(pairs, from_="sft", name="dpo")
        if not project.dpo(ranked, from_="sft", name="dpo").skipped:
            chat_model = "dpo"
    with phases("evaluation", "before and after each stage"):
        tasks = ["bits_per_byte", "answers", "repetition", "ends"]
        for model in dict.fromkeys([TARGET, "sft", chat_model]):
            project.evaluate(model, tasks, heldout=heldout)
    return chat_model


def _write_recipe(folder: Path, seed: int) -> None:
    """The demo's recipe, unless the folder has one: what a user changed there is kept."""
    path = folder / RECIPE_FILE
    if not path.exists():
        text = (files("forescale.project") / "demo.toml").read_text()
        write_atomic(path, text.replace("[train]\n", f"[train]\nseed = {seed}\n").encode())


def _collect_text(project: Project, text: Path | None) -> None:
    """The default text under text/, or the user's folder as the recipe's source."""
    from forescale.corpus.demo_text import collect

    if text is not None:
        if not text.exists():
            raise InputError(f"{text} does not exist", remedy="--text names a folder of text files", file=text)
        project.set_source(text.resolve())
        return
    collect(project.workspace.root, project.executor())


def _make_pairs(project: Project, corpus: CorpusSummary, text: Path | None, sft: Path | None) -> list[Quarantined]:
    """Pairs of the user's, or of signatures and docstrings, some held out of tuning; gives the user's bad lines."""
    from forescale.corpus import docstrings

    out = project.workspace.root / "pairs"
    train, held = out / "train.jsonl", out / "heldout.jsonl"
    if sft is not None:
        return docstrings.user_pairs(sft, train, held)[2]
    candidates = project.workspace.root / "pairs.jsonl"
    if text is not None:  # the user's text has no questions of its own: the installed documentation's are asked
        from forescale.corpus.demo_text import collect

        collect(project.workspace.root, project.executor())
    docstrings.pairs(candidates, corpus.validation.sources, train, held)
    return []


def _ladder_budgets(project: Project, phases: Phases, minutes: float, seed: int) -> tuple[Speeds, tuple[float, ...]]:
    """Measure this machine, and choose the budgets whose ladder and target fit into the minutes; kept for a resume."""
    from forescale.project.ladder import grounds
    from forescale.scaling.ladder import centre_batch, centre_size, largest_top, rungs

    base = grounds(project, LADDER)
    path = project.workspace.root / ".speeds.json"
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["minutes"] == minutes:
            speeds = Speeds(tuple((x, y) for x, y in kept["points"]), kept["ranks"], kept["gain"])
            return speeds, tuple(kept["budgets"])
    with phases("speed", "seconds per token of a few shapes on this machine"):
        flops = [1.5e11, 6e11, 1e13]
        shapes = [base.shape_for(centre_size(c)) for c in flops]
        batches = [
            base.recipe.model.seq_len * max(1, round(centre_batch(c) / base.recipe.model.seq_len)) for c in flops
        ]
        speeds = measure(shapes, batches)

    def target_seconds(c: float) -> float:
        shape = base.shape_for(centre_size(c))
        return c / shape.flops_per_token * speeds.target_seconds_per_token(shape)

    def top_for(unique_tokens: int) -> float:
        return largest_top(
            60 * minutes,
            replace(base, unique_tokens=unique_tokens),
            seed=seed,
            cores=project.executor().workers,
            seconds_per_token=speeds.seconds_per_token,
            target_seconds=target_seconds,
            apart=APART,
        )

    top, by_time = top_for(base.unique_tokens), top_for(sys.maxsize)
    if top < 0.9 * by_time:
        phases.display.note(
            f"the corpus has {base.unique_tokens:,} training tokens: without repeating any, the ladder ends at"
            f" {top:.2g} FLOPs where {minutes:g} minutes would reach {by_time:.2g}; more text would use them"
        )
    step = 10.0 ** math.floor(math.log10(top) - 1)
    budgets = rungs(math.floor(top / step) * step)  # two digits, never more than what fits
    kept = {
        "minutes": minutes,
        "points": speeds.points,
        "ranks": speeds.ranks,
        "gain": speeds.rank_gain,
        "budgets": budgets,
    }
    write_atomic(path, json.dumps(kept).encode())
    return speeds, budgets


def _plan(
    project: Project, phases: Phases, largest: float, minutes: float, speeds: Speeds, unique: int
) -> Plan:  # fmt: skip
    """The plan at 10 times the ladder's largest run, or more where the minutes allow it. Made once, then kept."""
    path = project.workspace.plan(TARGET)
    if path.exists() and (project.workspace.run(TARGET) / "spec.json").exists():
        return Plan.read(path)  # sealed: never planned again
    left = 60 * minutes - phases.seconds.get("ladder", 0.0)
    dials: dict[str, Any] = {"minutes": max(left, 1.0) / 60, "seconds_per_token": speeds.target_seconds_per_token}
    by_time = project.plans(ranks=speeds.ranks, **dials).plans[0]  # only reckoned: the one that is kept is the target's
    flops = max(by_time.flops, APART * largest)
    wanted = by_time.laws_say.tokens
    if wanted is not None and wanted > unique:
        # Time for more compute than this text can feed at the best split: no further than where it can.
        flops = max(APART * largest, flops * (unique / wanted) ** 2)
    return project.plan(TARGET, ranks=speeds.ranks, **(dials if flops == by_time.flops else {"flops": flops}))


def _result(
    project: Project,
    plan: Plan,
    laws: Laws,
    target: RunRecord,
    ladder: dict[str, Any],
    corpus: dict[str, Any],
    phases: Phases,
    report: Path,
    chat_model: str,
) -> DemoResult:
    forecast = plan.forecast
    assert forecast is not None
    assert target.validation is not None
    return DemoResult(
        report=str(report),
        chat_model=str(project.workspace.run(chat_model)),
        forecast=forecast.loss,
        interval=forecast.interval,
        outcome=target.validation.bits_per_byte,
        unit="bpb",
        regime=laws.regime,
        extrapolation=forecast.extrapolation.model_dump(),
        ladder_runs=ladder["runs"],
        flops={"ladder": ladder["largest_flops"], "ladder_total": ladder["total_flops"], "target": target.flops},
        seconds=dict(phases.seconds),
        corpus={key: corpus.get(key) for key in ("documents", "bytes", "removed", "sha256")},
    )
