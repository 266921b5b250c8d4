"""The learning rate's factor, and the steps at which a trunk's branches start and end. Pure arithmetic, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from forescale.base.errors import ConfigError
from forescale.base.records.spec import RunSpec, Schedule

_HAIR = 1e-9
"""A stage that starts at 0.8 x 35 steps starts at 28, whatever binary fractions make of it."""


def factor(schedule: Schedule, warmup_steps: int, step: int, n_steps: int) -> float:
    """Factor on the peak rate at `step` (from 0) of a run of `n_steps`: warm-up in steps, stages by tokens (paper 2.3).

    >>> [round(factor(Schedule(), 2, step, 10), 3) for step in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.316, 0.1]
    """
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
    return warm * _stage(schedule, step, n_steps)


def _stage(schedule: Schedule, step: int, n_steps: int) -> float:
    if schedule.kind == "constant":
        return 1.0
    value = 1.0
    for start, stage in schedule.points:
        if step + _HAIR >= start * n_steps:
            value = stage
    return value


def branch_step(schedule: Schedule, n_steps: int) -> int:
    """The first step of a run of `n_steps` at which it leaves the trunk (the constant rate).

    >>> branch_step(Schedule(), 100), branch_step(Schedule(kind="constant"), 100), branch_step(Schedule(), 5)
    (80, 100, 4)
    """
    if schedule.kind == "constant":
        return n_steps
    return math.ceil(schedule.constant_until * n_steps - _HAIR)


def branch_steps(spec: RunSpec) -> list[tuple[int, int]]:
    """For each branch the step at which it leaves the trunk and the one at which it ends; checks that they ascend."""
    if not spec.branches:
        raise ConfigError(f"run {spec.name} has no branch", remedy="give at least one number of tokens", key="branches")
    if spec.batch_tokens % spec.shape.seq_len:
        raise ConfigError(
            f"a batch of {spec.batch_tokens} tokens is not a whole number of sequences of {spec.shape.seq_len}",
            remedy=f"use a multiple of {spec.shape.seq_len}",
            key="batch_tokens",
        )
    steps = []
    for tokens in spec.branches:
        if tokens % spec.batch_tokens or tokens <= 0:
            raise ConfigError(
                f"a branch of {tokens} tokens is not a whole number of batches of {spec.batch_tokens}",
                remedy=f"use a multiple of {spec.batch_tokens}",
                key="branches",
            )
        n_steps = tokens // spec.batch_tokens
        steps.append((branch_step(spec.schedule, n_steps), n_steps))
    if sorted(set(spec.branches)) != list(spec.branches):
        raise ConfigError("the branches of a trunk must ascend", remedy="sort them by tokens", key="branches")
    return steps


def total_steps(steps: Sequence[tuple[int, int]], done: int = 0) -> int:
    """Optimizer steps that a trunk with these branches takes from the end of its first `done` branches on.

    >>> total_steps([(80, 100), (160, 200)])
    220
    """
    before = steps[done - 1][0] if done else 0
    return steps[-1][0] - before + sum(end - start for start, end in steps[done:])
