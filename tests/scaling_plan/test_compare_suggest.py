"""Corpora side by side, and the runs to make next, on laws whose truth is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.base.records.laws import Largest, Laws, Member, NoisePoint, Predictive, Surface
from forescale.scaling.compare import compare, compare_laws
from forescale.scaling.published import split_of
from forescale.scaling.suggest import suggest

NORMAL = [(0.025, -1.96), (0.05, -1.645), (0.25, -0.674), (0.5, 0.0), (0.75, 0.674), (0.95, 1.645), (0.975, 1.96)]


def laws(
    floor: float = 1.6,
    a: float = 40.0,
    alpha: float = 0.22,
    *,
    spread: float = 0.02,
    growth: float = 0.004,
    **more: Any,
) -> Laws:
    """Laws around a known surface, as a fit of runs up to 1e17 FLOPs would leave them."""
    surface = Surface(form="generalised", E=floor, A=a, alpha=alpha, B=40.0, beta=0.22)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        move = rng.standard_normal(3) * spread
        # a steeper slope goes with a larger coefficient: what the runs pin down is the loss in their middle
        tilt = math.exp(0.22 * move[1] * math.log(1e8))
        draws.append([floor * math.exp(move[0]), a * tilt, alpha * (1 + move[1]), 40.0, 0.22 * (1 + move[2]), 1.0])
    return Laws(
        scale="M", unit="bpb", source="made up", surface=surface, allocation=split_of(surface, 1.0),
        largest=Largest(flops=1e17, size=1e9, tokens=1e9), smallest_rung=1e15, regime="scaling",
        predictive=Predictive(
            members=[Member(surface=surface, weight=1.0)], draws=draws, sd_fit=0.001, sd_growth=growth, sd_seed=0.001,
            quantiles=NORMAL,
        ),
        **more,
    )  # fmt: skip


def test_the_better_corpus_is_found_and_doubt_grows_with_distance() -> None:
    good, bad = laws(1.5, spread=0.005), laws(1.7, spread=0.005)
    made = compare_laws({"good": good, "bad": bad})
    assert all(b.order == ["good", "bad"] for b in made.better)
    assert made.better[0].probability > 0.99
    twin = compare_laws({"x": laws(1.60), "y": laws(1.601)})
    assert all(0.3 < b.probability < 0.8 for b in twin.better)
    assert made.crossings == []
    assert set(made.exponents) == {"good", "bad"}
    assert any("validation" in w for w in made.warnings)


def test_a_crossing_is_located() -> None:
    # the shallow one starts lower, the steep one ends lower
    early, late = laws(1.9, 20.0, 0.22, spread=0.002), laws(1.5, 40.0, 0.22, spread=0.002)
    made = compare_laws({"early": early, "late": late}, budgets=[1e13, 1e21])
    gap = [b.order[0] for b in made.better]
    assert gap == ["early", "late"] or not made.crossings
    for crossing in made.crossings:
        a, b = (dict(early=early, late=late)[name] for name in crossing.pair)
        for factor, sign in ((0.5, -1), (2.0, 1)):
            values = []
            for one in (a, b):
                assert one.allocation is not None
                assert one.surface is not None
                values.append(one.surface.loss(*one.allocation.split(crossing.flops * factor)))
            assert np.sign(values[0] - values[1]) == sign


def test_compute_that_a_corpus_cannot_feed_is_said_beside_its_order() -> None:
    small, large = laws(1.5), laws(1.7)
    assert small.allocation is not None
    made = compare_laws({"small": small, "large": large}, budgets=[1e16, 1e18, 1e20], unique={"small": 1e9})
    wanted = {flops: flops / small.allocation.split(flops)[0] / 1e9 for flops in (1e16, 1e18, 1e20)}
    assert [b.repeats for b in made.better] == [
        {"small": pytest.approx(times)} if times > 1 else {} for times in wanted.values()
    ]
    assert made.better[0].repeats == {}
    assert made.better[-1].repeats
    assert any("small has 1,000,000,000 tokens: from" in text for text in made.warnings)


@pytest.mark.parametrize(("said", "known"), [([1e8, 1e9], False), ([1e8, 5e8], True), (1e12, True), (None, False)])
def test_unique_tokens_are_known_where_runs_repeat_or_the_table_says_more(said: Any, known: bool) -> None:
    """The largest run had 1e9 tokens: as many unique ones say only that it repeated none."""
    one = laws(conditions={} if said is None else {"unique_tokens": said})
    far = compare_laws({"a": one, "b": laws(1.7)}, budgets=[1e28]).better[0]
    assert ("a" in far.repeats) == known


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="only one corpus"):
        compare_laws({"a": laws()})
    nats = laws(conditions={"tokenizer": "x"}).model_copy(update={"unit": "nats_per_token"})
    other = laws(conditions={"tokenizer": "y"}).model_copy(update={"unit": "nats_per_token"})
    with pytest.raises(InputError, match="different tokenizers"):
        compare_laws({"a": nats, "b": other})
    with pytest.raises(InputError, match="losses are in different units: a in nats_per_token, b in bpb"):
        compare_laws({"a": nats, "b": laws()})
    with pytest.raises(InputError, match="sizes are in different units: web in M, books in N2") as caught:
        compare_laws({"web": laws(), "books": laws().model_copy(update={"scale": "N2"})})
    assert "--scale" in caught.value.remedy
    warned = compare_laws({"a": laws(conditions={"validation": "p"}), "b": laws(conditions={"validation": "q"})})
    assert any("different validation sets" in w for w in warned.warnings)


def runs(group: str, floor: float, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for flops in np.geomspace(1e15, 1e17, 5):
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0):
            size = factor * flops**0.5
            tokens = flops / size
            loss = (floor + 60 * size**-0.25 + 60 * tokens**-0.25) * math.exp(0.001 * rng.standard_normal())
            rows.append({"flops_per_token": size, "tokens": tokens, "loss": loss, "group": group, "budget": flops})
    return rows


def test_one_table_with_groups_is_fitted_group_by_group() -> None:
    made = compare(runs("clean", 1.6, 1) + runs("dirty", 1.9, 2))
    assert set(made.corpora) == {"clean", "dirty"}
    assert all(b.order[0] == "clean" for b in made.better if b.flops <= 1e18)
    assert made.exponents["clean"].model_exponent == pytest.approx(0.5, abs=0.1)
    named = compare({"a": runs("", 1.6, 1), "b": runs("", 1.9, 2)})
    assert set(named.corpora) == {"a", "b"}


def test_tables_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    files = []
    for name, floor in (("a", 1.6), ("b", 1.9)):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "runs.jsonl")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in runs("", floor, 1)))
    assert list(compare(files).corpora) == [str(file) for file in files]
    with pytest.raises(InputError, match="two tables of runs have one name"):
        compare([files[0], files[0]])
    with pytest.raises(InputError, match="one name: web"):
        compare([runs("web", 1.6, 1), runs("web", 1.9, 2)])


def test_suggested_runs_narrow_the_forecast() -> None:
    made = suggest(laws(), 1e19)
    assert made.runs
    assert made.width_after < made.width_now
    assert made.flops == pytest.approx(sum(r.flops for r in made.runs))
    for run in made.runs:
        assert run.flops_per_token is not None
        assert run.flops_per_token * run.tokens == pytest.approx(run.flops)
        assert run.flops <= 4e17 * 1.001
    more = suggest(laws(), 1e19, n_runs=8)
    assert more.width_after <= made.width_after
    tight = suggest(laws(), 1e19, allowance=made.flops / 3)
    assert tight.flops <= made.flops / 3
    enough = suggest(laws(), 1e19, until=0.999 * made.width_now)
    assert len(enough.runs) == 1


def test_a_list_says_what_its_widths_rest_on() -> None:
    made = suggest(laws(), 1e19)
    assert any("run twice" in w for w in made.warnings)
    assert any("no law of learning rate or batch" in w for w in made.warnings)
    measured = laws(noise=[NoisePoint(flops=1e17, seed_sd=0.001, replicates=3)])
    assert not any("run twice" in w for w in suggest(measured, 1e19).warnings)
    settled = suggest(laws(spread=1e-4, growth=0.0), 1e16)
    assert any("narrow the forecast by less than 2%" in w for w in settled.warnings)


def test_one_table_under_two_names_is_called_that() -> None:
    made = compare({"web": runs("web", 1.6, 0), "copy": runs("web", 1.6, 0)})
    assert any("web and copy have the very same laws" in w for w in made.warnings)
    other = compare({"web": runs("web", 1.6, 0), "again": runs("web", 1.6, 1)})
    assert not any("very same laws" in w for w in other.warnings)


def test_candidates_restrict_the_choice() -> None:
    table = [{"flops_per_token": m, "tokens": 1e16 / m, "seed": 3} for m in (5e7, 1e8, 2e8)]
    made = suggest(laws(), 1e19, candidates=table, n_runs=2)
    assert {run.row for run in made.runs} <= {1, 2, 3}
    assert len({run.row for run in made.runs}) == len(made.runs)
    assert all(run.seed == 3 for run in made.runs)
    without = suggest(laws(), 1e19, candidates=table, n_runs=3, exclude={2})
    assert {run.row for run in without.runs} <= {1, 3}
    with pytest.raises(InputError, match="no rows"):
        suggest(laws(), 1e19, candidates=[])


def test_laws_without_draws_suggest_nothing() -> None:
    with pytest.raises(InputError, match="nothing to narrow"):
        suggest(laws().model_copy(update={"predictive": None}), 1e19)
