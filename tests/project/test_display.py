"""The ladder as people see it: a table in a terminal, plain lines elsewhere, nothing on standard output."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from forescale.base.config import Recipe
from forescale.base.records.loss import LossSum
from forescale.base.records.run import RunRecord
from forescale.project.display import Display, LadderView, clock, live_ladder
from forescale.project.ladder import shape_rule
from forescale.scaling.ladder import Grounds, design, trunk_tokens


@pytest.fixture
def plan(tmp_path):
    recipe = Recipe()
    ground = Grounds(
        shape_for=shape_rule(recipe.model, 512), tokens_dir="", tokenizer_dir="", out_dir=str(tmp_path), group="web",
        unique_tokens=10**9, recipe=recipe,
    )  # fmt: skip
    return design([1e12, 4e12, 1.6e13], ground, seed=0)


def ended(spec, speed=1e9):
    """A trunk's records, at so many FLOPs a second."""
    return [
        RunRecord(
            run=f"{spec.name}-{n}", trunk=spec.name, group="web", budget=budget, shape=spec.shape, tokens=n, steps=10,
            batch_tokens=spec.batch_tokens, learning_rate=1e-3, warmup_steps=1, weight_decay=0.1, seed=0,
            validation=LossSum(nats=1.5 * 1000 * math.log(2), tokens=500, bytes=1000),
            seconds=spec.shape.flops_per_token * n / speed,
        )
        for budget, n in zip(spec.budgets, spec.branches, strict=True)
    ]  # fmt: skip


def shown(terminal):
    display, out = Display(), io.StringIO()
    display.console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    return display, out


def test_a_terminal_has_a_table_of_what_runs_and_what_is_left(plan):
    display, out = shown(True)
    update = display.ladder()
    update(plan, [])
    first, second, *_ = plan.specs
    log = {"step": 1234, "loss": 3.456, "tokens_per_second": 7890}
    Path(second.out_dir).mkdir(parents=True, exist_ok=True)
    (Path(second.out_dir) / "log.jsonl").write_text(json.dumps(log) + "\n")
    update(plan, ended(first))
    display.stop()
    total = sum(len(spec.branches) for spec in plan.specs)
    last = out.getvalue().rpartition("running")[2]
    assert f"{len(first.branches)} of {total} runs" in last
    assert second.name in last
    assert "1,234" in last
    assert "3.456" in last
    assert first.name not in last
    assert "1.500" in last  # the best loss by budget
    assert "left" in last


def test_a_log_has_a_line_a_trunk(plan):
    display, out = shown(False)
    update = display.ladder()
    records = []
    update(plan, records)
    for spec in plan.specs[:2]:
        records = records + ended(spec)
        update(plan, records)
    lines = out.getvalue().splitlines()
    total = sum(len(spec.branches) for spec in plan.specs)
    assert [line.partition(" runs")[0] for line in lines] == [
        f"ladder: 0 of {total}",
        f"ladder: {len(plan.specs[0].branches)} of {total}",
        f"ladder: {len(records)} of {total}",
    ]
    assert "left" not in lines[0]
    assert "left" in lines[1]
    assert "\x1b" not in out.getvalue()


def test_hours_are_hours():
    assert [clock(75), clock(3675)] == ["1:15", "1:01:15"]


def test_time_left_is_what_the_ended_runs_cost(plan):
    view = LadderView(None, workers=1)
    view.update(plan, ended(plan.specs[0], speed=1e10))
    todo = sum(trunk_tokens(s) * s.shape.flops_per_token for s in plan.specs[1:])
    assert f"about {clock(todo / 1e10)} left" in view.line()
    view.update(plan, [record for spec in plan.specs for record in ended(spec)])
    assert "left" not in view.line()


def test_it_ends_with_the_verb_and_keeps_off_standard_output(plan, capsys):
    def verb():
        with live_ladder() as progress:
            progress(plan, [])
            raise RuntimeError("cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        verb()
    told = capsys.readouterr()
    assert told.out == ""
    assert "ladder: 0 of" in told.err
