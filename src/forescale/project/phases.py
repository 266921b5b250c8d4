"""Time by phase of the demo: what each phase cost to make, kept so that one that goes on adds up."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forescale.base.files import write_atomic
from forescale.project.display import Display


@dataclass
class Phases:
    """Seconds by phase. A phase that was complete and is only looked at again adds nothing."""

    path: Path
    display: Display
    asked: str = ""
    """What the phases are made of (`inputs_digest`): asked for something else, none of them is complete."""
    seconds: dict[str, float] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            self.seconds = kept.get("seconds", kept)  # seconds alone: a demo that an earlier version began
            self.complete = set(kept["complete"]) if kept.get("asked") == self.asked else set()

    @contextmanager
    def __call__(self, name: str, note: str = "") -> Iterator[None]:
        """Time what is done inside as phase `name`; one that is cut short counts, and goes on from there."""
        self.display.phase(name, note)
        start = time.monotonic()
        try:
            yield
        finally:
            if name not in self.complete:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
                self._keep()
            self.display.phase_done(name, self.seconds[name])
        self.complete.add(name)
        self._keep()

    def _keep(self) -> None:
        kept = {"asked": self.asked, "complete": sorted(self.complete), "seconds": self.seconds}
        write_atomic(self.path, json.dumps(kept).encode())


def inputs_digest(options: dict[str, Any], *inputs: Path | None) -> str:
    """A name for options and input files: sizes and times of change stand for content, which `clean` itself hashes."""
    seen = []
    for given in inputs:
        if given is not None and given.exists():
            found = sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]
            seen += [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    return hashlib.sha256(json.dumps([options, seen], sort_keys=True, default=str).encode()).hexdigest()
