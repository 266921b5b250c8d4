"""Whose tokens a forecast rests on: named ones, the workspace's corpus, the ladder's where it tells, else new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forescale.base.artifact import make
from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.project.init import init_workspace
from forescale.project.laws_verbs import forecast_verb
from forescale.project.plan_verb import plan_verb
from forescale.scaling.assumptions import FRESH
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.plan import plan
from forescale.scaling.synthetic import make_ladder

CORPUS = 50_000_000_000
FAR = 1e23


@pytest.fixture(scope="module")
def laws() -> Laws:
    """Each run saw each of its tokens once, as a ladder writes it."""
    return fit([{**row, "unique_tokens": row["tokens"]} for row in make_ladder("well-specified", 1).rows])


@pytest.fixture
def workspace(laws: Laws, tmp_path: Path) -> Path:
    """A recipe, laws and a tokenized corpus of CORPUS tokens."""
    root = tmp_path / "w"
    init_workspace(root)
    (root / "laws").mkdir(exist_ok=True)
    laws.write(root / "laws" / "laws.json")
    counts = {
        name: SplitCount(documents=1, tokens=n, bytes=4 * n) for name, n in (("train", CORPUS), ("validation", 9))
    }
    summary = TokensSummary(
        vocab_size=32_000, dtype="uint16", eos_id=0, **counts, unigram_nats=6.0, bigram_nats=4.0, unigram_bpb=2.0,
        bigram_bpb=1.5, tokenizer="0" * 16, validation_id="1" * 16,
    )  # fmt: skip
    with make(root / "tokens", "tokens", "2" * 64, parents=[], settings={}, verb="tokenize") as folder:
        folder.summary.update(summary.to_json())
    return root


def repeats(made: Forecast | None) -> Any:
    assert made is not None
    return next(a for a in made.assumptions if a.what == "unique_tokens")


def test_repeats_that_nobody_named_are_not_charged(laws: Laws) -> None:
    """Far beyond the ladder's largest run its tokens are new ones; that is an assumption, and stands among them."""
    assert laws.largest is not None
    for made in (
        forecast(laws, flops=FAR),
        plan(laws, flops=FAR).forecast,
        forecast(fit(make_ladder("well-specified", 1).rows), flops=FAR),
    ):
        assert made is not None
        assert made.tokens > 20 * laws.largest.tokens
        assert (repeats(made).target, repeats(made).charged) == (FRESH, 0.0)
        assert not any("epochs" in w for w in made.warnings)
    named = forecast(laws, flops=FAR, conditions={"unique_tokens": forecast(laws, flops=FAR).tokens / 100})
    assert repeats(named).charged > 0.05
    assert named.loss > forecast(laws, flops=FAR).loss


def test_a_ladder_that_repeated_tells_its_corpus(laws: Laws) -> None:
    assert laws.largest is not None
    few = laws.model_copy(update={"conditions": {"unique_tokens": laws.largest.tokens / 2}})
    assert repeats(forecast(few, flops=FAR)).target == laws.largest.tokens / 2
    assert repeats(forecast(few, flops=FAR)).charged > 0


def test_a_workspace_knows_its_corpus(workspace: Path) -> None:
    inside = plan_verb(flops=1e20, workspace=workspace, kept=False)
    assert inside.tokens < CORPUS
    assert (repeats(inside.forecast).target, repeats(inside.forecast).charged) == (CORPUS, 0.0)
    beyond = plan_verb(tokens=20 * CORPUS, workspace=workspace, kept=False)
    named = plan_verb(tokens=20 * CORPUS, unique_tokens=CORPUS, workspace=workspace, kept=False)
    assert repeats(beyond.forecast) == repeats(named.forecast)
    assert beyond.forecast == named.forecast
    more = plan_verb(tokens=20 * CORPUS, unique_tokens=100 * CORPUS, workspace=workspace, kept=False)
    assert repeats(more.forecast).target == 100 * CORPUS


def test_a_forecast_by_a_workspaces_laws_does_too(workspace: Path, laws: Laws, tmp_path: Path) -> None:
    inside = forecast_verb(workspace / "laws", model_scale=1e10, tokens=20.0 * CORPUS)
    assert isinstance(inside, Forecast)
    assert repeats(inside).target == CORPUS
    assert any("the workspace's corpus" in w for w in inside.warnings)
    told = forecast_verb(workspace / "laws", model_scale=1e10, tokens=20.0 * CORPUS, conditions={"unique_tokens": 1e14})
    assert isinstance(told, Forecast)
    assert repeats(told).target == 1e14
    laws.write(tmp_path / "laws.json")
    outside = forecast_verb(tmp_path / "laws.json", model_scale=1e10, tokens=20.0 * CORPUS)
    assert isinstance(outside, Forecast)
    assert repeats(outside).target == FRESH
    assert outside.loss == told.loss < inside.loss


@pytest.mark.parametrize(
    ("name", "words"), [("deepseek", "Fig. 5"), ("llama3", "Fig. 5"), ("steplaw", "split of deepseek")]
)
def test_whose_loss_weighs_repeats_is_named(name: str, words: str) -> None:
    made = plan(name, flops=1e22, unique_tokens=1e9)
    assert words in made.borrowed["size against tokens"]
    assert any(words in w and "Muennighoff" in w for w in made.warnings)
    assert words in plan(name, flops=1e22, serve_tokens=1e13).borrowed["size against tokens"]
    assert "size against tokens" not in plan(name, flops=1e22, unique_tokens=1e15).borrowed
    own = plan("epoch", flops=1e22, unique_tokens=1e9)
    assert "size against tokens" not in own.borrowed
    assert any("these laws' own loss" in w for w in own.warnings)


def test_a_tie_borrows_what_weighs_its_repeats() -> None:
    rows = [row for row in make_ladder("well-specified", 1).rows]
    tied = [row | {"tokens": 20 * row["flops_per_token"], "flops": 20 * row["flops_per_token"] ** 2} for row in rows]
    laws = fit([{k: v for k, v in row.items()} for row in {r["flops"]: r for r in tied}.values()])
    assert laws.line is not None
    made = plan(laws, flops=1e21, unique_tokens=1e9)
    assert "deepseek" in made.borrowed["size against tokens"]


def test_a_plan_tells_its_forecast_what_the_workspace_knows(laws: Laws, workspace: Path) -> None:
    """Words that the laws' runs have: another tokenizer is charged, and what they do not say is left alone."""
    said = {"tokenizer": "0" * 16, "validation": "another", "schedule": "multi_step"}
    laws.model_copy(update={"conditions": laws.conditions | said}).write(workspace / "laws" / "laws.json")
    made = plan_verb(flops=1e19, workspace=workspace).forecast
    assert made is not None
    found = {a.what: a for a in made.assumptions}
    assert (found["tokenizer"].target, found["tokenizer"].charged) == ("0" * 16, 0.0)
    assert found["schedule"].target == "multi_step"
    assert found["validation"].target == "1" * 16
    assert found["validation"].charged > 0
    assert "optimizer" not in found
