"""A disk that is really full: a small file system of its own, filled to the last page, then with room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forescale.base.errors import SystemFailure
from forescale.base.files import write_atomic
from forescale.base.records.run import RunRecord
from forescale.project.ladder import append_rows, read_rows
from forescale.scaling.ledger import Ledger
from forescale.scaling.plan import plan
from forescale.scaling.synthetic import make_ladder

pytestmark = pytest.mark.slow
PAGE = 4096


class Disk:
    """A mounted file system of 16 MiB that can be filled and emptied."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def leave(self, n_bytes: int) -> None:
        """Fill all but so many bytes."""
        state = os.statvfs(self.path)
        with (self.path / "filler").open("wb") as file:
            file.write(bytes(max(0, state.f_bavail * state.f_frsize - n_bytes)))

    def free(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    target = tmp_path / "disk"
    target.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(target)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted without root: {done.stderr.strip()}")
    try:
        yield Disk(target)
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_file_is_written_whole_or_not_at_all(disk):
    path = disk.path / "kept.bin"
    write_atomic(path, b"before")
    disk.leave(2 * PAGE)
    with pytest.raises(SystemFailure, match="No space left") as error:
        write_atomic(path, bytes(20 * PAGE))
    assert error.value.file == str(path)
    assert path.read_bytes() == b"before"
    assert sorted(p.name for p in disk.path.iterdir()) == ["filler", "kept.bin"]
    disk.free()
    write_atomic(path, bytes(20 * PAGE))


def test_a_ledger_keeps_its_chain_and_takes_the_line_afterwards(disk):
    ledger = Ledger(disk.path / "ledger.jsonl")
    names = iter(f"plan-{n}" for n in range(1000))
    made = plan("deepseek", flops=1e20)
    ledger.planned(made, next(names))
    disk.leave(0)

    def until_full() -> None:  # the last page has room for some lines
        for name in names:
            ledger.planned(made, name)

    with pytest.raises(SystemFailure, match="ledger"):
        until_full()
    data = ledger.path.read_bytes()
    assert data.endswith(b"\n")
    lines = data.count(b"\n")
    assert len(ledger.read().lines) == lines
    disk.free()
    ledger.planned(made, "after")
    view = ledger.view()
    assert view.chain_ok
    assert len(ledger.read().lines) == lines + 1


def test_a_run_table_never_has_half_a_row(disk):
    table = disk.path / "ladder" / "runs.csv"
    records = [_record(f"run-{n}") for n in range(60)]
    append_rows(table, records[:2])
    disk.leave(0)
    with pytest.raises(SystemFailure, match="runs"):
        append_rows(table, records)
    assert [row["run"] for row in read_rows(table)] == ["run-0", "run-1"]
    disk.free()
    table.write_bytes(table.read_bytes() + b"run-2,t,half a ro")  # as a machine that lost its power leaves it
    append_rows(table, records)
    assert [row["run"] for row in read_rows(table)] == [r.run for r in records]


def test_fit_and_plan_end_with_8_and_go_on(disk):
    runs = disk.path / "runs.jsonl"
    runs.write_text("".join(json.dumps(row) + "\n" for row in make_ladder("well-specified", 0).rows))
    laws, made = disk.path / "laws", disk.path / "plan.json"
    for words, result in (
        (["fit", str(runs), "--out", str(laws)], laws / "laws.json"),
        (["plan", "--flops", "1e20", "--out", str(made)], made),
    ):
        disk.leave(0)
        full = _forescale(*words)
        assert full.returncode == 8, full.stderr
        assert "No space left" in full.stderr
        assert "try: free space" in full.stderr
        assert not result.exists()
        disk.free()
        again = _forescale(*words)
        assert again.returncode == 0, again.stderr
        assert json.loads(result.read_text())


def _forescale(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forescale", *words], capture_output=True, text=True, timeout=120, check=False
    )


def _record(name: str) -> RunRecord:
    return RunRecord(
        run=name, trunk="t", shape=plan("deepseek", flops=1e20).model.shape, tokens=512, steps=1, batch_tokens=512,
        learning_rate=1e-3, warmup_steps=0, weight_decay=0.1, seed=0, validation=None,
    )  # fmt: skip
