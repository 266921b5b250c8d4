"""Where artifacts lie. Only this room knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forescale.base.errors import ArtifactError, ConfigError

RECIPE_FILE = "forescale.toml"


@dataclass(frozen=True)
class Workspace:
    """A folder with a recipe and one folder per artifact."""

    root: Path

    @classmethod
    def find(cls, start: Path | None, near: Path | None = None) -> Workspace:
        """The one named, or the nearest folder upward from here, or from `near`, that has a recipe; else exit 2."""
        if start is not None:
            if not (start / RECIPE_FILE).exists():
                raise ConfigError(
                    f"{start} is not a workspace",
                    why=f"it has no {RECIPE_FILE}",
                    remedy=f"forescale init {start}",
                    file=start,
                )
            return cls(start.resolve())
        for place in (Path.cwd(), *([near.resolve()] if near is not None else [])):
            for folder in (place, *place.parents):
                if (folder / RECIPE_FILE).exists():
                    return cls(folder)
        raise ConfigError(
            "no workspace here or above",
            why=f"a workspace is a folder with a {RECIPE_FILE}",
            remedy="forescale init DIR makes one; --workspace DIR names one",
        )

    @property
    def recipe(self) -> Path:
        """The recipe file."""
        return self.root / RECIPE_FILE

    @property
    def corpus(self) -> Path:
        """Clean documents."""
        return self.root / "corpus"

    @property
    def tokenizer(self) -> Path:
        """tokenizer.json."""
        return self.root / "tokenizer"

    @property
    def tokens(self) -> Path:
        """Token shards."""
        return self.root / "tokens"

    @property
    def laws(self) -> Path:
        """The last fit."""
        return self.root / "laws"

    @property
    def ledger(self) -> Path:
        """The append-only chain of forecasts."""
        return self.root / "ledger.jsonl"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report" / "index.html"

    def ladder(self, name: str) -> Path:
        """A ladder's folder."""
        return self.root / "ladders" / name

    def plan(self, name: str) -> Path:
        """A plan's file."""
        return self.root / "plans" / name / "plan.json"

    def run(self, name: str) -> Path:
        """A run's folder."""
        return self.root / "runs" / name

    def evaluation(self, name: str) -> Path:
        """A model's evaluation."""
        return self.root / "evals" / name

    def weights(self, model: str | Path) -> Path:
        """The weights folder of MODEL: a run's name, a run's folder, or a folder of weights."""
        for candidate in (Path(model) / "weights", Path(model), self.run(str(model)) / "weights"):
            if (candidate / "config.json").exists():
                return candidate
        known = sorted(p.parent.parent.name for p in self.root.glob("runs/*/weights/config.json"))
        raise ArtifactError(
            f"there is no model `{model}`",
            why="it is neither a run of this workspace nor a folder with config.json and safetensors",
            remedy=f"runs with weights here: {', '.join(known) or 'none yet'}",
            file=model,
        )
