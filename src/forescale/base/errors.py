"""Everything a user can cause, as one tree of errors.

ForescaleError              exit 1 (only our own bugs end there)
├── ConfigError             exit 2   usage or recipe
├── InputError              exit 3   input data, a missing input file too
├── ArtifactError           exit 4   an artifact is damaged or missing
├── LayoutError             exit 5   a parallel layout that cannot be
├── DivergedError           exit 6   a run's loss or gradient is no longer finite
├── MissingExtraError       exit 7   an optional dependency is not installed
└── SystemFailure           exit 8   disk or operating system
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class ForescaleError(Exception):
    """What was wrong, why it matters, what to do about it, and where (file, line, key)."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        remedy: str = "",
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.why, self.remedy = what, why, remedy
        self.file = None if file is None else str(file)
        self.line, self.key = line, key

    def __reduce__(self) -> tuple[object, ...]:
        """Cross process borders whole: the default would lose the keyword arguments."""
        return _rebuild, (type(self), self.as_json())

    def as_json(self) -> dict[str, object]:
        """The object under `error` that a failing verb prints with `--json`."""
        return {
            "code": self.exit_code,
            "what": self.what,
            "why": self.why,
            "remedy": self.remedy,
            "file": self.file,
            "line": self.line,
            "key": self.key,
        }

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                self.file or "",
                f"line {self.line}" if self.line is not None else "",
                f"key {self.key}" if self.key else "",
            )
            if part
        )
        lines = [self.what + (f" ({where})" if where else "")]
        lines += [f"why: {self.why}"] if self.why else []
        lines += [f"try: {self.remedy}"] if self.remedy else []
        return "\n".join(lines)


def _rebuild(kind: type[ForescaleError], fields: dict[str, object]) -> ForescaleError:
    return kind(
        str(fields.pop("what")),
        **{k: v for k, v in fields.items() if k != "code"},  # type: ignore[arg-type]
    )


class ConfigError(ForescaleError):
    """The command line or the recipe asks for something that cannot be."""

    exit_code = 2


class InputError(ForescaleError):
    """Input data is missing, unreadable or not what the verb needs."""

    exit_code = 3


class ArtifactError(ForescaleError):
    """An artifact of the workspace is missing, unfinished or damaged."""

    exit_code = 4


class LayoutError(ForescaleError):
    """A parallel layout does not fit the model or the machine."""

    exit_code = 5


class DivergedError(ForescaleError):
    """A run's loss or gradient is no longer a finite number."""

    exit_code = 6


class MissingExtraError(ForescaleError):
    """An optional dependency is not installed."""

    exit_code = 7

    @classmethod
    def of(cls, extra: str, need: str) -> MissingExtraError:
        """The message for a room whose extra is absent."""
        return cls(
            f"{need} needs the extra `{extra}`",
            why="the bare package holds fit, forecast, plan, compare and ledger only",
            remedy=f"pip install 'forescale[{extra}]'",
        )


class SystemFailure(ForescaleError):
    """The disk is full, a file cannot be written, a process cannot be started."""

    exit_code = 8
