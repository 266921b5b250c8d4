"""Parts as Ray tasks: a running cluster by its address, or one started on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from forescale.base.errors import MissingExtraError, SystemFailure
from forescale.launch.call import Call, run
from forescale.launch.spread import AGAIN, LostError, Spreading


class RayExecutor(Spreading[Any]):
    """One task a part, `threads` processors each."""

    def __init__(self, address: str | None = None, *, workers: int | None = None, threads: int = 1) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError.of("ray", "--executor ray") from None
        self._ray = ray
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise SystemFailure(
                    f"cannot reach a Ray cluster at {address or 'this machine'}: {error}",
                    remedy="check --ray-address, or leave it out: then a cluster is started here",
                ) from error
        # A task's process serves one call: the next one may want other settings before its imports.
        self._task = ray.remote(num_cpus=threads, max_retries=0, max_calls=1)(run)
        super().__init__(workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads), threads)

    def submit(self, call: Call) -> Any:
        """Start a task."""
        return self._task.remote(call)

    def wait(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Tasks that have ended, at least one."""
        ended, _ = self._ray.wait(list(handles), num_returns=1)
        return ended

    def answer(self, handle: Any) -> tuple[bool, Any]:
        """A task's answer, or the word that it was lost."""
        try:
            return self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            return False, LostError(f"a Ray task was lost: {last}", why="its process or its node ended", remedy=AGAIN)

    def cancel(self, handle: Any) -> None:
        """Stop a task."""
        with contextlib.suppress(Exception):
            self._ray.cancel(handle, force=True)
