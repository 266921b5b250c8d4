"""Options that verbs share, and how their values are read. Imports nothing but typer: `--help` stays quick."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from forescale.project.project import Project


def number(text: str | float) -> float:
    """A positive amount, plain or as 2e12.

    >>> number("2e12")
    2000000000000.0
    """
    try:
        value = float(str(text).replace("_", ""))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number; write e.g. 2e12") from None
    if not math.isfinite(value) or value <= 0:
        raise typer.BadParameter(f"{text} is not a positive number")
    return value


def count(text: str | float) -> int:
    """A positive whole amount, plain or as 2e12.

    >>> count("3e3"), count("512")
    (3000, 512)
    """
    number(text)
    exact = Decimal(str(text).replace("_", ""))  # a float would lose the last digits of a large count
    if exact != int(exact):
        raise typer.BadParameter(f"{text} is not a whole number")
    return int(exact)


def fraction(text: str | float) -> float:
    """A share between 0 and 1: 1% or 0.01.

    >>> fraction("1%"), fraction("0.9")
    (0.01, 0.9)
    """
    word = str(text).strip()
    try:
        value = float(word.rstrip("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a share; write 1% or 0.01") from None
    if not 0 < value < 1:
        raise typer.BadParameter(f"{text} is not between 0 and 1 (or 0% and 100%)")
    return value


def pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """KEY=VALUE words as a dict; the key ends at the first equals sign.

    >>> pairs(["lr=2**log2_lr"], "--column")
    {'lr': '2**log2_lr'}
    """
    found: dict[str, str] = {}
    for word in values or []:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{word!r} is not KEY=VALUE", param_hint=option)
        if key.strip() in found:
            raise typer.BadParameter(f"{key.strip()} is given twice", param_hint=option)
        found[key.strip()] = value.strip()
    return found


def checked(words: list[str] | None, option: str) -> list[str]:
    """KEY=VALUE words as they are, after a check that each is one."""
    pairs(words, option)
    return list(words or [])


def values(words: list[str] | None, option: str) -> dict[str, Any]:
    """KEY=VALUE words with numbers read as numbers, for shapes and conditions.

    >>> values(["seq_len=4096,weight_decay=0.1"], "--conditions")
    {'seq_len': 4096, 'weight_decay': 0.1}
    """
    split = [piece for word in words or [] for piece in _split_commas(word)]
    return {key: _scalar(value) for key, value in pairs(split, option).items()}


def _split_commas(word: str) -> list[str]:
    pieces = word.split(",")
    return pieces if all("=" in piece for piece in pieces) else [word]


def _scalar(text: str) -> Any:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        return text
    return int(value) if math.isfinite(value) and value == int(value) else value


class ExecutorKind(enum.StrEnum):
    """Who runs parts and runs."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


class Scale(enum.StrEnum):
    """The size unit of a fit."""

    M = "M"
    N1 = "N1"
    N2 = "N2"


class Metric(enum.StrEnum):
    """The loss a fit reads."""

    loss = "loss"
    bpb = "bpb"


@dataclass(frozen=True)
class Common:
    """The options that every verb takes."""

    json: bool = False
    set: tuple[str, ...] = ()
    workspace: Path | None = None
    force: bool = False
    debug: bool = False

    def project(
        self, executor: ExecutorKind = ExecutorKind.local, ray_address: str | None = None, near: Path | None = None
    ) -> Project:
        """The workspace's project as this call wants it, found upward from here or from `near`; else exit 2."""
        from forescale.project.project import Project

        return Project(
            self.workspace, self.set, force=self.force, executor=executor.value, ray_address=ray_address, near=near
        )


Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on standard output; all else on standard error.", show_default=False),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a value of the recipe; repeatable."),
]
Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="Default: the nearest folder upward with a forescale.toml."),
]
Force = Annotated[bool, typer.Option("--force", help="Make it again, even where it is finished.", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Add the trace to an error.", show_default=False)]


def common_options(
    json: Json = False,
    set: SetValues = None,
    workspace: Workspace = None,
    force: Force = False,
    debug: Debug = False,
) -> Common:
    """The common options as one value; its signature is added to every verb's."""
    return Common(json, tuple(set or ()), workspace, force, debug)


ExecutorOption = Annotated[
    ExecutorKind, typer.Option("--executor", metavar="local|ray|slurm", help="Who runs the parts.")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="ADDRESS", help="A running Ray cluster; else one is started here."),
]
OutDir = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Default: the workspace's laws/; nowhere outside a workspace."),
]
LevelOption = Annotated[
    float, typer.Option("--level", parser=fraction, metavar="SHARE", help="Probability that the interval aims at.")
]
ScaleOption = Annotated[
    Scale | None,
    typer.Option(
        "--scale",
        metavar="M|N1|N2",
        help="Size unit: M (FLOPs a token), N1 (without embeddings), N2 (with). Default: M if there.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=COLUMN",
        help="Read our NAME from this column, base**column or factor*column; repeatable.",
    ),
]
Where = Annotated[
    list[str] | None, typer.Option("--where", metavar="COLUMN=VALUE", help="Keep only such rows; repeatable.")
]
Group = Annotated[str | None, typer.Option("--group", metavar="NAME", help="The group (corpus) to fit.")]
MetricOption = Annotated[
    Metric | None, typer.Option("--metric", metavar="loss|bpb", help="Default: bpb where the table has it.")
]
