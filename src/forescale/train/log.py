"""`log.jsonl`: one object a logged step, for machines; numbers are never parsed back from text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from forescale.base.files import disk_failure, write_atomic


class RunLog:
    """Appends lines to a run's log; after a restart, first drops those that will be written again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, line: dict[str, Any]) -> None:
        """Append one line; numbers that are not finite are null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(clean) + "\n")
        except OSError as error:
            raise disk_failure(error, self.path) from error

    def keep(self, *, finished: Set[int], trunk_step: int, side: tuple[int, int] | None) -> None:
        """After a restart: drop the lines that will be written again, and a torn last one.

        What stays: branches that have ended (`finished`, by tokens), the trunk up to `trunk_step`, and the branch that
        was on its way down up to its step (`side`).
        """

        def stays(line: dict[str, Any]) -> bool:
            step, branch = line["step"], line["branch"]
            if branch is None:
                return step <= trunk_step
            return branch in finished or (side is not None and branch == side[0] and step <= side[1])

        if self.path.exists():
            kept = "".join(json.dumps(line) + "\n" for line in read_log(self.path) if stays(line))
            write_atomic(self.path, kept.encode())


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole; none where there is no log yet."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line
