"""The bar of one run: steps, loss, tokens a second, time left; on standard error, and only for people."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunBar:
    """Use as `with RunBar("pretrain") as bar: run_spec(spec, bar)`: it is called as `on_step` is."""

    def __init__(self, title: str, *, console: Console | None = None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console or Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=None, loss=float("nan"), speed=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, step: int, n_steps: int, loss: float, tokens_per_second: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step, total=n_steps, loss=loss, speed=tokens_per_second)
