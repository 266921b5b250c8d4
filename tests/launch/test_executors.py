"""Executors: every part ends in one outcome, whatever happens to the processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jobs
import pytest

from forescale.base.errors import ConfigError, InputError, MissingExtraError, SystemFailure
from forescale.base.executor import results
from forescale.launch import open_executor
from forescale.launch.call import Call
from forescale.launch.local import LocalExecutor
from forescale.launch.spread import LostError, Spreading


@pytest.fixture(scope="module")
def pool():
    with LocalExecutor(2) as executor:
        yield executor


def test_results_are_those_of_a_plain_map(pool):
    assert results(pool.map(jobs.square, range(20))) == [x * x for x in range(20)]


def test_children_are_fresh_with_their_own_environment(pool):
    assert "OMP_WAIT_POLICY" not in os.environ
    assert next(pool.map(jobs.threads, [0])).result == ("1", "PASSIVE", 1)


def test_errors_stay_with_their_part_and_keep_their_words(pool):
    outcomes = sorted(pool.map(jobs.fail, range(4), retries=0), key=lambda o: o.index)
    assert [o.result for o in outcomes] == [0, None, None, 3]
    error = outcomes[1].error
    assert isinstance(error, InputError)
    assert (error.what, error.remedy, error.file, error.line) == ("part 1 is bad", "mend it", "a.txt", 3)
    assert isinstance(outcomes[2].error, ZeroDivisionError)


def test_a_passing_failure_is_tried_again(pool, tmp_path):
    assert next(pool.map(jobs.count_then_fail, [str(tmp_path / "n")])).result == 1


def test_a_killed_child_is_replaced_and_its_part_done(pool, tmp_path):
    parts = [str(tmp_path / f"k{i}") for i in range(3)]
    assert [o.result for o in pool.map(jobs.kill_myself, parts)] == [7, 7, 7]


def test_a_part_that_kills_its_process_each_time_is_an_outcome(pool):
    (outcome,) = pool.map(jobs.always_killed, [0], retries=1)
    assert isinstance(outcome.error, SystemFailure)
    assert "signal 9" in outcome.error.what
    assert next(pool.map(jobs.square, [3])).result == 9


def test_progress_counts_parts():
    seen = []
    with LocalExecutor(1, on_progress=lambda *a: seen.append(a)) as one:
        list(one.map(jobs.square, [1, 2], label="squares"))
    assert seen == [("squares", 1, 2), ("squares", 2, 2)]


def alive(folder: Path) -> list[int]:
    pids = []
    for path in folder.iterdir():
        try:
            os.kill(int(path.name), 0)
        except ProcessLookupError:
            continue
        if "Z" not in Path(f"/proc/{path.name}/stat").read_text().split(")")[1].split()[0]:
            pids.append(int(path.name))
    return pids


def within(seconds: float, true) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_their_parent(tmp_path, number):
    code = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        "import jobs\nfrom forescale.launch.local import LocalExecutor\n"
        f"list(LocalExecutor(2).map(jobs.sleep, [{str(tmp_path)!r}] * 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    assert within(20, lambda: len(list(tmp_path.iterdir())) == 2)
    parent.send_signal(number)
    parent.wait(10)
    assert within(10, lambda: not alive(tmp_path))


def test_leaving_early_stops_the_rest(tmp_path):
    with LocalExecutor(2) as executor:
        outcomes = executor.map(jobs.sleep, [str(tmp_path)] * 2)
        signal.setitimer(signal.ITIMER_REAL, 3)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
        signal.signal(signal.SIGALRM, before)
    assert not alive(tmp_path)


def test_kinds(tmp_path):
    assert open_executor("local", workers=3).workers == 3
    with pytest.raises(ConfigError, match="no executor"):
        open_executor("cloud")


def test_a_missing_ray_is_named():
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="ray"):
            open_executor("ray")
    else:
        pytest.skip("ray is installed here")


class Scheduler(Spreading[int]):
    """Calls done here, one handle each; the handles named are lost."""

    def __init__(self, lose: set[int]) -> None:
        super().__init__(workers=2, threads=1)
        self.lose, self.calls, self.cancelled = lose, [], []

    def submit(self, call: Call) -> int:
        self.calls.append(call)
        return len(self.calls) - 1

    def wait(self, handles: Sequence[int]) -> Sequence[int]:
        assert len(handles) <= self.workers
        return handles[:1]

    def answer(self, handle: int) -> tuple[bool, object]:
        function, part = pickle.loads(self.calls[handle].payload)
        return (False, LostError("lost")) if handle in self.lose else (True, function(part))

    def cancel(self, handle: int) -> None:
        self.cancelled.append(handle)


def test_a_scheduler_tries_lost_calls_again_and_cancels_what_nobody_waits_for():
    patient = Scheduler(lose={0})
    assert results(patient.map(jobs.square, range(5))) == [0, 1, 4, 9, 16]
    assert len(patient.calls) == 6
    (lost,) = Scheduler(lose={0, 1}).map(jobs.square, [3], retries=1)
    assert isinstance(lost.error, LostError)
    assert pickle.loads(pickle.dumps(lost.error)).what == "lost"
    left = Scheduler(lose=set())
    outcomes = left.map(jobs.square, range(5))
    next(outcomes)
    outcomes.close()
    assert left.cancelled == [1]


def test_slurm_jobs_run_on_submitits_own_executor(tmp_path):
    pytest.importorskip("submitit")
    from forescale.launch.slurm import SlurmExecutor

    executor = SlurmExecutor(tmp_path, workers=3, cluster="local", minutes=5)
    good, bad, lost = sorted(executor.map(jobs.anything, range(3), retries=0), key=lambda o: o.index)
    assert good.result == ("1", "PASSIVE", 1)
    assert isinstance(bad.error, InputError)
    assert bad.error.line == 3
    assert isinstance(lost.error, SystemFailure)
    assert "lost" in lost.error.what


def test_ray_tasks(tmp_path):
    pytest.importorskip("ray")
    from forescale.launch.ray import RayExecutor

    executor = RayExecutor(workers=2)
    assert results(executor.map(jobs.square, range(5))) == [x * x for x in range(5)]
    outcomes = sorted(executor.map(jobs.fail, range(3), retries=0), key=lambda o: o.index)
    assert [o.result for o in outcomes] == [0, None, None]
    assert isinstance(outcomes[1].error, InputError)
    (lost,) = executor.map(jobs.always_killed, [0], retries=0)
    assert isinstance(lost.error, SystemFailure)
    assert [o.result for o in executor.map(jobs.kill_myself, [str(tmp_path / "k")])] == [7]
