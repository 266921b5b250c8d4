import csv
import json
import shutil

import pytest
from chain_texts import RECIPE, write_text

from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.base.records.laws import Laws
from forescale.project.ladder import append_rows, read_rows
from forescale.project.project import Project
from forescale.scaling.ledger import Ledger


def test_a_sealed_run_does_what_its_plan_says_and_the_ledger_has_its_outcome(workspace):
    project = Project(workspace)
    top = max(float(row["flops"]) for row in read_rows(project.workspace.ladder("main") / "runs.csv"))
    plan = project.plan("target", flops=2 * top)
    record = project.pretrain("target", seed=99)
    assert record.tokens == plan.steps * plan.batch_tokens
    assert record.flops == pytest.approx(plan.flops)
    assert record.flops == record.tokens * record.shape.flops_per_token
    log = [json.loads(line) for line in (project.workspace.run("target") / "log.jsonl").read_text().splitlines()]
    assert log[-1]["tokens"] == record.tokens
    view = Ledger(project.workspace.ledger).view()
    sealed = next(entry for entry in view.entries if entry.kind == "sealed")
    assert view.chain_ok
    assert sealed.outcome == record.validation.bits_per_byte
    assert sealed.predicted == plan.forecast.loss
    assert record.seal == sealed.digest
    again = project.pretrain("target", seed=99)  # finished: the same record, no second seal, no second outcome
    assert again == record
    assert len(Ledger(project.workspace.ledger).view().entries) == len(view.entries)
    page = project.report()
    assert f"{record.validation.bits_per_byte:.3f}" in page.read_text()


def test_a_sealed_interval_is_brought_to_the_loss_that_the_log_has(workspace):
    project = Project(workspace)
    top = max(float(row["flops"]) for row in read_rows(project.workspace.ladder("main") / "runs.csv"))
    project.plan("watched", flops=2 * top)
    record = project.pretrain("watched", seed=7)
    sealed = next(e for e in project.ledger().entries if e.kind == "sealed" and e.run == "watched")
    seen = project.watch("watched")
    gap = record.validation.bits_per_byte / seen.loss  # how far validation lies above training in the run itself
    assert any("validation lay" in w for w in seen.warnings)
    assert seen.band[0] * gap == pytest.approx(sealed.interval[0], rel=0.1)
    assert seen.band[1] * gap == pytest.approx(sealed.interval[1], rel=0.1)


def test_seals_that_the_ledger_lost_are_named(workspace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    project = Project(copy)
    project.plan("sealed", flops=2e10)
    project.pretrain("sealed", seed=1)
    lines = (copy / "ledger.jsonl").read_text().splitlines(keepends=True)
    (copy / "ledger.jsonl").write_text("".join(lines[:-1]))
    assert any("no outcome of sealed" in w for w in project.ledger().warnings)
    project.pretrain("sealed", seed=1)
    assert not any("sealed" in w for w in project.ledger().warnings if "second seal" not in w)
    seal = next(k for k, line in enumerate(lines) if '"sealed"' in line and json.loads(line)["run"] == "sealed")
    (copy / "ledger.jsonl").write_text("".join(lines[:seal]))
    view = project.ledger()
    assert view.chain_ok
    assert any("seals of runs (sealed)" in w for w in view.warnings)


def test_an_edited_forecast_is_shown(workspace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    project = Project(copy)
    project.plan("other", flops=2e10)
    lines = (copy / "ledger.jsonl").read_text().splitlines()
    edited = json.loads(lines[-1])
    edited["predicted"] = edited["predicted"] * 0.99
    (copy / "ledger.jsonl").write_text("\n".join([*lines[:-1], json.dumps(edited)]) + "\n")
    assert not project.ledger().chain_ok


def test_a_run_under_a_seal_is_never_changed(workspace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    project = Project(copy)
    project.plan("mine", flops=5e9)
    spec = project.pretrain("mine", dry_run=True)
    sealed = spec.model_copy(update={"seal": "0" * 64})
    sealed.write(copy / "runs" / "mine" / "spec.json")
    project.plan("mine", flops=1.5e10)
    with pytest.raises(ConfigError, match="begun with another plan"):
        project.pretrain("mine")


def test_other_laws_in_the_workspace_move_the_plan_as_computed(workspace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    project = Project(copy)
    before = project.plan("before", flops=2e10)
    path = copy / "laws" / "laws.json"
    laws = Laws.read(path)
    rate = laws.learning_rate
    assert laws.allocation is not None
    assert rate is not None
    allocation = laws.allocation.model_copy(
        update={
            "model_coefficient": laws.allocation.model_coefficient * 2,
            "data_coefficient": laws.allocation.data_coefficient / 2,
        }
    )
    laws.model_copy(
        update={
            "learning_rate": rate.model_copy(update={"coefficient": rate.coefficient * 3}),
            "allocation": allocation,
        }
    ).write(path)
    after = project.plan("after", flops=2e10)
    assert after.laws_say.flops_per_token == pytest.approx(2 * before.laws_say.flops_per_token)
    assert after.laws_say.tokens == pytest.approx(before.laws_say.tokens / 2)
    size, tokens, batch = (rate.exponents.get(k, 0.0) for k in ("size", "tokens", "batch_tokens"))
    moved = before.laws_say.batch_tokens and after.laws_say.batch_tokens / before.laws_say.batch_tokens
    expected = 3 * 2**size * 0.5**tokens * (moved or 1.0) ** batch
    assert after.laws_say.learning_rate / before.laws_say.learning_rate == pytest.approx(expected, rel=1e-6)
    assert (
        after.model.flops_per_token != before.model.flops_per_token if hasattr(after.model, "flops_per_token") else True
    )
    assert after.flops_per_token > before.flops_per_token
    assert after.tokens < before.tokens


def test_a_finished_ladder_repeats_nothing_and_rows_are_written_once(workspace):
    project = Project(workspace)
    table = project.workspace.ladder("main") / "runs.csv"
    before = table.read_bytes()
    summary = project.ladder("main")
    assert table.read_bytes() == before
    rows = read_rows(table)
    assert summary.runs == len(rows) == len({row["run"] for row in rows})
    append_rows(table, [])
    assert table.read_bytes() == before
    assert {float(r["flops_per_token"]) * float(r["tokens"]) == pytest.approx(float(r["flops"])) for r in rows} == {
        True
    }


def test_the_run_table_has_the_contracts_columns(workspace):
    with (workspace / "ladders" / "main" / "runs.csv").open() as file:
        columns = csv.DictReader(file).fieldnames
    needed = (
        "run trunk budget flops_per_token tokens flops loss bpb lr batch_tokens seed seq_len steps bigram_bpb status"
    )
    assert set(needed.split()) <= set(columns)


def test_a_corpus_too_small_for_the_budget_says_how_much_is_missing(workspace):
    with pytest.raises(InputError, match="training tokens") as caught:
        Project(workspace).ladder("big", budgets=[1e13])
    assert "would be repeated" in caught.value.why


def test_a_plan_never_repeats_a_token_where_a_larger_model_can_take_the_compute(workspace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workspace, copy)
    project = Project(copy)
    unique = project.tokenize().train.tokens
    plan = project.plan("large", flops=unique * 1.5e5)
    assert plan.tokens <= unique
    assert plan.flops >= unique * 1.5e5
    assert any("none is repeated" in warning for warning in plan.warnings) or plan.laws_say.tokens <= unique


def test_a_folder_without_a_recipe_is_no_workspace(tmp_path):
    with pytest.raises(ConfigError, match="not a workspace"):
        Project(tmp_path)


def test_an_empty_folder_leaves_the_corpus_that_stands(workspace, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    project = Project(workspace)
    before = (workspace / "corpus" / "manifest.json").read_bytes()
    with pytest.raises(InputError):
        project.clean([empty])
    assert (workspace / "corpus" / "manifest.json").read_bytes() == before


def test_a_report_of_an_empty_workspace_is_refused(tmp_path):
    (tmp_path / "forescale.toml").write_text(RECIPE)
    with pytest.raises(ArtifactError, match="nothing to report"):
        Project(tmp_path).report()


def test_killed_between_stages_the_same_calls_go_on(tmp_path):
    (tmp_path / "forescale.toml").write_text(RECIPE)
    write_text(tmp_path / "text", seed=3)
    first = Project(tmp_path).clean()
    stamp = (tmp_path / "corpus" / "manifest.json").stat().st_mtime_ns
    assert Project(tmp_path).clean() == first
    assert (tmp_path / "corpus" / "manifest.json").stat().st_mtime_ns == stamp
