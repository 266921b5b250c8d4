"""A function and its part on their way to another machine: settings first, imports after."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forescale.base.runtime import set_worker_environment


@dataclass(frozen=True)
class Call:
    """Pickled by value, so that the worker's environment is set before the function's imports happen there."""

    payload: bytes
    threads: int
    path: tuple[str, ...]
    """Where this process finds its modules, for workspaces with code of their own."""

    @classmethod
    def of(cls, function: Callable[[Any], Any], part: Any, threads: int) -> Call:
        """`function(part)`, to be done with so many threads."""
        return cls(pickle.dumps((function, part)), threads, tuple(sys.path))

    def __call__(self) -> tuple[bool, Any]:
        """(true, the result) or (false, the error)."""
        set_worker_environment(self.threads)
        sys.path.extend(folder for folder in self.path if folder not in sys.path)
        function, part = pickle.loads(self.payload)
        try:
            return True, function(part)
        except Exception as error:
            return False, error


def run(call: Call) -> tuple[bool, Any]:
    """`call()`, as a plain function for schedulers that want one."""
    return call()
