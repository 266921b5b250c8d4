"""The ladder that goes on by itself: what it spends is counted, whatever call spent it, and it stops with a reason."""

import json
import shutil

import pytest

from forescale.base.artifact import read_manifest, verify
from forescale.base.errors import InputError
from forescale.base.records.ladder import Round
from forescale.base.records.spec import RunSpec
from forescale.project import ladder as ladder_file
from forescale.project.ladder import read_rows
from forescale.project.project import Project
from forescale.project.rounds import Rounds, stalled, trust
from forescale.project.spent import flops_by_trunk
from forescale.scaling.ladder import trunk_flops

TARGET = 1e12


@pytest.fixture
def project(workspace, tmp_path):
    """A copy of the workspace under its own name (which is its corpus's name in the run table)."""
    copy = tmp_path / workspace.name
    shutil.copytree(workspace, copy)
    return Project(copy)


def go_on(project, allowance):
    return project.ladder("main", target=TARGET, until_interval=1e-4, allowance=allowance)


def test_what_was_spent_is_counted_over_calls(project):
    grid = project.ladder("main")
    allowance = grid.total_flops + 6.5e10
    made = go_on(project, allowance)
    folder = project.workspace.ladder("main")
    rows = read_rows(folder / "runs.csv")
    assert made.rounds
    assert grid.total_flops < made.total_flops <= allowance
    assert made.runs == len([row for row in rows if row["status"] == "finished"]) > grid.runs
    assert made.seconds > grid.seconds
    assert made.total_flops == pytest.approx(grid.total_flops + sum(r.flops for r in made.rounds), rel=1e-3)
    assert verify(folder) == []
    assert read_manifest(folder).summary["total_flops"] == made.total_flops
    again = go_on(project, allowance)  # the same command: nothing is left, or nothing helps
    assert (again.total_flops, again.runs, again.rounds) == (made.total_flops, made.runs, made.rounds)
    assert read_rows(folder / "runs.csv") == rows
    assert project.ladder("main").total_flops == made.total_flops


def test_a_round_that_was_killed_is_ended_first_and_its_share_counts(project, monkeypatch):
    grid = project.ladder("main")
    real, folder = ladder_file.run_specs, project.workspace.ladder("main")

    def killed(project_, name, specs, before, progress):
        real(project_, name, specs[:1], before, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(ladder_file, "run_specs", killed)
    allowance = grid.total_flops + 7e10
    with pytest.raises(KeyboardInterrupt):
        go_on(project, allowance)
    begun = Rounds.of(folder).open
    assert begun is not None
    first = trunk_flops(begun.specs[0])
    assert project.ladder("main").total_flops == pytest.approx(grid.total_flops + first, rel=1e-3)
    monkeypatch.setattr(ladder_file, "run_specs", real)
    if len(begun.specs) > 1:
        short = go_on(project, grid.total_flops + 1.01 * first)
        assert "a round was begun" in short.note
    made = go_on(project, allowance)
    assert made.rounds[0].runs == begun.round.runs
    assert made.rounds[0].ended
    assert {row["trunk"] for row in read_rows(folder / "runs.csv")} >= set(begun.round.runs)
    assert made.total_flops <= allowance


def test_a_grid_beyond_the_allowance_is_refused_before_it_runs(project):
    shutil.rmtree(project.workspace.ladder("main"))
    with pytest.raises(InputError, match="the grid alone takes"):
        go_on(project, 1e9)
    assert not project.workspace.ladder("main").exists()


def test_a_half_finished_run_has_spent_what_its_log_says(project):
    folder = project.workspace.ladder("main")
    rows = read_rows(folder / "runs.csv")
    spent = flops_by_trunk(folder, rows)
    trunks = {path.parent.name: RunSpec.read(path) for path in folder.glob("runs/*/spec.json")}
    assert spent == {name: pytest.approx(trunk_flops(spec), rel=1e-6) for name, spec in trunks.items()}
    lost = max(trunks.values(), key=lambda spec: len(spec.branches))
    without = [row for row in rows if row["trunk"] != lost.name]
    whole = flops_by_trunk(folder, without)[lost.name]
    assert whole == pytest.approx(trunk_flops(lost), rel=0.05)
    log = folder / "runs" / lost.name / "log.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    half = json.loads(lines[len(lines) // 2 - 1])
    assert 0 < flops_by_trunk(folder, without)[lost.name] < whole
    assert flops_by_trunk(folder, without)[lost.name] >= 0.5 * half["tokens"] * lost.shape.flops_per_token


def rounds(*widths, expected=0.9, allowance=1.0):
    return [
        Round(target_flops=1.0, allowance=allowance, width_before=a, expected=expected * a, promised=expected * a,
              width_after=b, ended=True, flops=1.0, runs=())
        for a, b in widths
    ]  # fmt: skip


def test_two_rounds_that_narrow_nothing_are_the_last(monkeypatch):
    assert not stalled(rounds((0.12, 0.125)), 1.0)
    assert stalled(rounds((0.12, 0.125), (0.125, 0.124)), 1.0)
    assert not stalled(rounds((0.12, 0.125), (0.125, 0.11)), 1.0)
    assert stalled(rounds((0.5, 0.12), (0.12, 0.119), (0.119, 0.118)), 1.0)
    assert not stalled(rounds((0.12, 0.125), (0.125, 0.124)), 2.0)  # who raises the allowance wants to go on


def test_later_promises_are_believed_as_far_as_earlier_ones_came():
    assert trust([]) == 1.0
    assert trust(rounds((1.0, 0.9))) == pytest.approx(1.0)
    assert trust(rounds((1.0, 1.0))) == pytest.approx(0.5)
    assert trust(rounds((1.0, 1.0), (1.0, 1.0))) == pytest.approx(1 / 3)
    assert 0.0 <= trust(rounds((1.0, 3.0))) < 0.5


def test_it_stops_where_promises_are_not_kept(project, monkeypatch):
    """Rounds of which no run ends well: two of them, then a reason."""
    grid = project.ladder("main")
    monkeypatch.setattr(ladder_file, "run_specs", lambda project_, name, specs, before, progress: before)
    made = go_on(project, 2 * grid.total_flops)
    assert len(made.rounds) == 2
    assert made.rounds[1].promised > made.rounds[1].expected
    assert "2 rounds promised" in made.note
    assert made.total_flops == grid.total_flops
    assert len(go_on(project, 2 * grid.total_flops).rounds) == 2
    assert len(go_on(project, 3 * grid.total_flops).rounds) > 2
