"""The ledger: chain, counting, torn lines, concurrent writers."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from forescale.base.errors import ArtifactError
from forescale.base.records.forecast import Extrapolation, Forecast
from forescale.base.records.plan import Plan
from forescale.scaling.ledger import Ledger, binomial_interval
from forescale.scaling.plan import plan


def made(flops: float = 1e18, loss: float = 2.0, half: float = 0.1) -> Plan:
    forecast = Forecast(
        loss=loss, interval=(loss - half, loss + half), level=0.9, unit="bpb", scale="M", model_scale=1.0, tokens=1.0,
        flops=flops, extrapolation=Extrapolation(flops=10.0, size=3.0, tokens=3.0),
    )  # fmt: skip
    return plan("deepseek", flops=flops).model_copy(update={"forecast": forecast})


def test_seal_and_outcome_make_an_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.planned(made(), "p1", validation="v")
    seal = ledger.seal(made(), "p1", run="target", validation="v")
    ledger.outcome(seal.digest, 2.05)
    view = ledger.view()
    assert [e.kind for e in view.entries] == ["planned", "sealed"]
    sealed = view.entries[1]
    assert sealed.outcome == 2.05
    assert sealed.error == pytest.approx(2.0 / 2.05 - 1)
    assert sealed.inside
    assert sealed.counts
    assert view.entries[0].outcome is None
    assert not view.entries[0].counts
    assert (view.coverage.inside, view.coverage.of) == (1, 1)
    assert view.median_error == pytest.approx(abs(2.0 / 2.05 - 1))
    assert view.chain_ok


def test_a_run_killed_before_step_0_keeps_its_seal(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first = ledger.seal(made(), "p1", run="target", validation="v")
    assert ledger.seal(made(), "p1", run="target", validation="v") == first
    assert ledger.seal(made(1e18, 2.1), "p1", run="target", validation="v") != first
    ledger.outcome(first.digest, 2.0)
    assert ledger.seal(made(), "p1", run="target", validation="v") != first


def test_first_seal_of_a_target_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first = ledger.seal(made(1e18, 2.0), "p1", validation="v")
    second = ledger.seal(made(1.05e18, 3.0), "p2", validation="v")
    other_set = ledger.seal(made(1e18, 3.0), "p3", validation="w")
    larger = ledger.seal(made(1.3e18, 1.9), "p4", validation="v")
    for line in (first, second, other_set, larger):
        ledger.outcome(line.digest, 2.95)
    view = ledger.view()
    assert [e.counts for e in view.entries] == [True, False, True, True]
    assert (view.coverage.inside, view.coverage.of) == (1, 3)
    assert any("second seal" in w for w in view.warnings)


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_an_edited_line_is_found(tmp_path: Path, victim: int) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.planned(made(), "p1")
    seal = ledger.seal(made(), "p1")
    ledger.outcome(seal.digest, 2.05)
    lines = path.read_text().splitlines()
    fields = json.loads(lines[victim - 1])
    fields["plan"] = "another"
    lines[victim - 1] = json.dumps(fields)
    path.write_text("\n".join(lines) + "\n")
    view = ledger.view()
    assert not view.chain_ok
    assert view.broken_line == victim
    with pytest.raises(ArtifactError, match="broken"):
        ledger.planned(made(), "p2")


def test_an_edited_and_rehashed_line_is_found(tmp_path: Path) -> None:
    from forescale.base.records.ledger import LedgerLine

    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    seal = ledger.seal(made(), "p1")
    ledger.outcome(seal.digest, 2.5)
    lines = path.read_text().splitlines()
    fields = json.loads(lines[0])
    fields["interval"] = [1.0, 3.0]
    fields["digest"] = LedgerLine.digest_of(fields)
    path.write_text("\n".join([json.dumps(fields), *lines[1:]]) + "\n")
    view = ledger.view()
    assert not view.chain_ok
    assert view.broken_line == 2


def test_a_removed_line_is_found_and_a_cut_tail_by_the_published_digest(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    for name in ("a", "b", "c"):
        ledger.planned(made(), name)
    digest = ledger.view().digest
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    assert ledger.view().broken_line == 2
    path.write_text(lines[0] + lines[1])
    assert ledger.view().chain_ok
    assert not ledger.view(published=digest).chain_ok


def test_a_torn_line_is_shown_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.planned(made(), "a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert ledger.view().torn_lines == [2]
    ledger.planned(made(), "b")
    view = ledger.view()
    assert view.chain_ok
    assert view.torn_lines == [2]
    assert [e.plan for e in view.entries] == ["a", "b"]


def test_a_line_that_was_put_in_is_not_torn(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    for name in ("a", "b"):
        ledger.planned(made(), name)
    first, second = path.read_text().splitlines(keepends=True)
    for text in (first + "garbage\n" + second, first + second + "garbage\n", first + second[:40] + "\n" + second):
        path.write_text(text)
        view = ledger.view()
        assert not view.chain_ok
        assert view.torn_lines == []
        assert view.broken_line == (3 if text.endswith("garbage\n") else 2)


def test_a_closed_torn_line_is_held_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.planned(made(), "a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    ledger.planned(made(), "b")
    closed = path.read_bytes()
    assert ledger.view().chain_ok
    for changed in (closed.replace(whole + whole[:50] + b"\n", whole), closed.replace(whole[:50] + b"\n", b"x\n")):
        path.write_bytes(changed)
        assert ledger.view().broken_line == 2


def test_a_second_outcome_is_named_and_does_not_count(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    seal = ledger.seal(made(), "p", run="target")
    ledger.outcome(seal.digest, 2.5)
    ledger.outcome(seal.digest, 2.0)
    view = ledger.view()
    assert view.entries[0].outcome == 2.5
    assert any("line 3" in w and "second outcome" in w for w in view.warnings)


def test_an_outcome_needs_a_seal_and_is_written_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(ArtifactError, match="no sealed line"):
        ledger.outcome("f" * 64, 2.0)
    seal = ledger.seal(made(), "p")
    assert ledger.outcome(seal.digest, 2.0) == ledger.outcome(seal.digest, 2.0)
    assert len(ledger.read().lines) == 2


def _write(path: str) -> None:
    ledger = Ledger(path)
    one = made()
    for k in range(12):
        ledger.planned(one, f"p{k}")


def test_concurrent_writers_keep_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(path),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    chain = Ledger(path).read()
    assert len(chain.lines) == 24
    assert chain.broken is None


def test_a_missing_ledger_is_an_empty_one(tmp_path: Path) -> None:
    view = Ledger(tmp_path / "none.jsonl").view()
    assert view.entries == []
    assert view.chain_ok
    assert view.coverage.interval == (0.0, 1.0)


def test_binomial_interval_holds_the_share() -> None:
    low, high = binomial_interval(47, 100)
    assert low < 0.47 < high
    assert binomial_interval(0, 5)[0] == 0.0
    assert binomial_interval(5, 5)[1] == 1.0
