"""Plans and outcomes that were edited after their lines were written; `show` on plans and runs. No torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forescale.base.records.loss import LossSum
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.cli.main import main
from forescale.project.ledger_verb import ledger_verb, ledger_warnings
from forescale.project.plan_verb import keep
from forescale.project.project import Project
from forescale.project.show import show
from forescale.project.watch_verb import watch_verb
from forescale.project.workspace import Workspace
from forescale.scaling.ledger import Ledger
from forescale.scaling.plan import plan

NAME = "1.00e18"


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A plan that was sealed, run and scored."""
    space = Workspace(tmp_path)
    space.recipe.write_text("")
    made = plan("chinchilla", flops=1e18)
    assert keep(space, made) == NAME
    ledger = Ledger(space.ledger)
    seal = ledger.seal(made, NAME, run=NAME).digest
    folder, total = space.run(NAME), made.steps * made.batch_tokens
    spec = RunSpec(
        name=NAME, shape=made.model.shape, learning_rate=made.learning_rate, batch_tokens=made.batch_tokens,
        branches=(total,), tokens_dir="tokens", tokenizer_dir="tokenizer", out_dir=str(folder), seal=seal, plan=NAME,
    )  # fmt: skip
    spec.write(folder / "spec.json")
    record = RunRecord(
        run=NAME, trunk=NAME, shape=made.model.shape, tokens=total, steps=made.steps, batch_tokens=made.batch_tokens,
        learning_rate=made.learning_rate, warmup_steps=1, weight_decay=0.1, seed=0, seal=seal, plan=NAME,
        validation=LossSum(nats=3e5, tokens=100_000, bytes=400_000),
    )  # fmt: skip
    (folder / "record.json").write_text(json.dumps([record.to_json()], indent=1))
    ledger.outcome(seal, 3.0, flops=record.flops)
    return space


def edit(file: Path, change: dict) -> None:
    content = json.loads(file.read_text())
    (content[-1] if isinstance(content, list) else content).update(change)
    file.write_text(json.dumps(content, indent=2))


def test_what_was_written_is_whole(space: Workspace) -> None:
    edit(space.plan(NAME), {})  # other blanks are no other plan
    assert ledger_verb(workspace=space.root).changed == []
    assert ledger_warnings(space) == []
    assert "error" not in show(space.root, verify=True)


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        (f"plans/{NAME}/plan.json", {"learning_rate": 0.5}, 2),
        (f"runs/{NAME}/record.json", {"validation": {"nats": 2e5, "tokens": 100_000, "bytes": 400_000}}, 3),
        (f"runs/{NAME}/record.json", {"tokens": 1000}, 3),
    ],
)
def test_an_edited_file_is_named_with_its_line_and_ends_with_4(space, file, change, line, capsys) -> None:
    path = space.root / file
    edit(path, change)
    found = ledger_verb(workspace=space.root).changed
    assert [(one.file, one.line) for one in found] == [(str(path), line)]
    assert main(["ledger", "--workspace", str(space.root), "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["file"], error["line"]) == (str(path), line)
    assert show(space.root, verify=True)["error"]["code"] == 4
    assert show(path.parent, verify=True)["error"]["code"] == 4
    assert "error" not in show(path.parent)


def test_a_plan_made_anew_under_its_name_is_no_edit(space: Workspace) -> None:
    keep(space, plan("chinchilla", flops=1.1e18), NAME)
    assert ledger_verb(workspace=space.root).changed == []


def test_show_says_what_a_plan_and_a_run_are(space: Workspace, capsys) -> None:
    shown = show(space.root / "plans" / NAME, verify=True)
    assert (shown["kind"], shown["wrong"]) == ("plan", [])
    run = show(space.run(NAME), lineage=True)
    assert (run["kind"], run["status"], run["entries"][0]["outcome"]) == ("run", "finished", 3.0)
    assert run["lineage"]["parents"][0]["kind"] == "plan"
    assert main(["show", str(space.run(NAME))]) == 0
    assert "3 nats/token" in capsys.readouterr().out
    (space.run(NAME) / "record.json").unlink()
    assert show(space.run(NAME))["status"] == "not ended"


def test_watch_looks_in_the_workspace_that_was_named(space: Workspace, tmp_path_factory, monkeypatch) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for root in (space.root, elsewhere):
        log = root / "runs" / NAME / "log.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(json.dumps({"step": s, "loss": 5.0 - s / 10}) + "\n" for s in range(1, 20)))
    for named in (NAME, f"runs/{NAME}", f"runs/{NAME}/log.jsonl"):
        assert Project(space.root).watch(named).source == str(space.run(NAME) / "log.jsonl")
    assert watch_verb(Path(f"runs/{NAME}")).source == f"runs/{NAME}/log.jsonl"
