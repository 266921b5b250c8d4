"""The recipe: one frozen schema, one section a room. Paper's defaults < forescale.toml < --set section.key=value."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forescale.base.errors import ConfigError, InputError


class Section(BaseModel):
    """A section of the recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class CorpusSection(Section):
    """Documents in, clean documents out (paper 1.1: deduplication, filtering, remixing)."""

    sources: list[str] = []
    """Folders or files of text (txt, md, rst, py, html, jsonl, parquet; gz, zst), relative to the recipe."""
    dedup: bool = True
    """Remove exact and near duplicates. Default true; false: the validation split is by source alone."""
    threshold: float = Field(0.8, gt=0, le=1)
    """Exact Jaccard similarity of word 5-grams from which two documents are near duplicates.
    Default 0.8 (our choice)."""
    quality: bool = True
    """Apply the quality rules. Default true."""
    validation_share: float = Field(0.04, gt=0, lt=0.5)
    """Share of the bytes that the validation split aims at, in whole sources. Default 0.04 (our choice)."""
    min_characters: int = Field(80, ge=0)
    """Shorter documents are removed by the quality rules. Default 80 characters (our choice)."""
    seed: int = 0
    """Chooses the sources of the validation split. Default 0: runs of all seeds are scored on the same text."""


class TokenizerSection(Section):
    """Byte-level BPE with the paper's pre-tokenizer (paper 1.3)."""

    vocab_size: int = Field(100_000, ge=257)
    """Ids, specials included. Default 100,000 (paper 1.3); a laptop ladder wants about 512."""
    train_bytes: int = Field(24_000_000_000, gt=0)
    """Text the merges are learnt from, in bytes, spread over the corpus. Default 24 GB (paper 1.3)."""


class ModelSection(Section):
    """Fixes what a plan would choose; None (the default): the plan chooses. Rules (multiples, heads) always hold.

    Ranges end at ten times the largest published: 1,000 layers (DeepNet), a width of 25,600 with 160 heads and a
    feed-forward layer of 102,400 (Megatron-LM's 1T), heads of 256 (Gemma), 1M vocabulary rows (XLM-V) and positions
    (LWM). Nobody means more, and a mistyped exponent does.
    """

    n_layer: int | None = Field(None, ge=1, le=10_000)
    """Transformer blocks. Default none: the plan chooses. Paper: 30 (7B), 95 (67B)."""
    d_model: int | None = Field(None, ge=8, le=256_000)
    """Width of the residual stream. Default none: the plan chooses. Paper: 4096, 8192."""
    n_head: int | None = Field(None, ge=1, le=1_600)
    """Query heads. Default none: d_model / head_dim. Paper: 32, 64."""
    n_kv_head: int | None = Field(None, ge=1, le=1_600)
    """Key/value heads, a divisor of n_head. Default none: n_head. Paper: 32, 8 (grouped queries)."""
    d_ffn: int | None = Field(None, ge=8, le=1_024_000)
    """Width of the feed-forward layer. Default none: by ffn_multiple."""
    vocab_size: int | None = Field(None, ge=2, le=10_000_000)
    """Rows of the embedding; None: the tokenizer's. Paper: 102,400."""
    seq_len: int = Field(4096, ge=8, le=10_000_000)
    """Positions a sequence. Default 4096 (paper 2.1)."""
    ffn_multiple: int = Field(256, ge=1, le=1_024_000)
    """The feed-forward width is 8/3 of the width rounded up to this. Default 256 (published configurations)."""
    head_dim: int = Field(128, ge=2, le=2_560)
    """Width of a head that the plan aims at. Default 128 (paper 2.3)."""
    init_std: float | None = None
    """Initial standard deviation; None: 0.384 / sqrt(d_model), the paper's 0.006 at d = 4096."""


class ScheduleSection(Section):
    """Fixes what a plan would choose."""

    tokens: int | None = None
    """Training tokens. Default none: the plan chooses. Paper: 2e12."""
    batch_tokens: int | None = None
    """Tokens a step, a multiple of seq_len. Default none: the plan chooses. Paper: 2304 and 4608 sequences of 4096."""
    learning_rate: float | None = None
    """Peak rate. Default none: the plan chooses. Paper: 4.2e-4, 3.2e-4."""
    warmup_steps: int | None = None
    """None: min(2000, 2% of the shortest branch's steps). Paper: 2000."""


class TrainSection(Section):
    """The optimizer's constants (paper 2.3) and how ranks compute."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on a GPU that has it, fp32 on a CPU."""
    weight_decay: float = Field(0.1, ge=0)
    """AdamW's decoupled decay. Default 0.1 (paper 2.3)."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the whole gradient. Default 1.0 (paper 2.3)."""
    attend_across_documents: bool = True
    """Packed sequences attend over document ends. Default true (the paper does not say)."""
    validation_tokens: int = Field(262_144, ge=1024)
    """Tokens of the validation split that every run is scored on; always the same ones. Paper: 100 million."""
    seed: int = 0
    """Of everything drawn at random. Default 0."""


class ParallelSection(Section):
    """Ranks along each axis of the mesh."""

    data: int = Field(1, ge=1)
    """Ranks that share the batch. Default 1."""
    tensor: int = Field(1, ge=1)
    """Ranks that share each matrix (paper 2.4). Default 1."""
    pipeline: int = Field(1, ge=1)
    """Ranks that share the layers (paper 2.4). Default 1."""
    sharding: Literal["full", "zero1"] | None = None
    """What a plan takes the copies of the model to share out: `full`, weights, gradients and optimizer (ZeRO-3, FSDP);
    `zero1`, the optimizer alone (ZeRO-1, paper 2.4). It moves the memory and so the layout. Default full."""


class CheckpointSection(Section):
    """When a run saves its state."""

    every_minutes: float = Field(5.0, gt=0)
    """Default 5 (paper 4.1: at most five minutes lost)."""
    every_steps: int = Field(0, ge=0)
    """0: by minutes only."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints that are kept. Default 2 (our choice)."""


class LadderSection(Section):
    """The grid of small runs (paper 3.1, 3.2). Empty lists: designed from the budget of minutes or FLOPs."""

    budgets: list[float] = []
    """Compute budgets in FLOPs (M x D), ascending."""
    sizes_per_budget: int = Field(3, ge=1)
    """Model sizes at each budget, around the expected optimum. Default 3 (our choice)."""
    learning_rates: list[float] = []
    """Factors on the centre learning rate, or absolute rates where below 1. Empty: chosen by the design."""
    batches: list[int] = []
    """Batch sizes in tokens. Empty: chosen by the design."""
    replicates: int = Field(2, ge=1)
    """Seeds of the replicated cell at each budget."""
    cores: int = Field(0, ge=0)
    """Runs at once, one thread each; 0: every core of this machine."""


class SftSection(Section):
    """Two-stage supervised tuning (paper 6.2)."""

    epochs: float = Field(2.0, gt=0)
    """Passes over the examples. Default 2 (paper 6.2: 4 for the 7B, 2 for the 67B)."""
    learning_rate: float = Field(1e-5, gt=0)
    """Peak rate. Default 1e-5 (paper 6.2, 7B); a tiny model wants far more."""
    batch: int = Field(32, ge=1)
    """Examples a step."""


class DpoSection(Section):
    """Direct preference optimisation (paper 6.3): one epoch, warm-up and cosine."""

    learning_rate: float = Field(5e-6, gt=0)
    """Peak rate. Default 5e-6 (paper 6.3)."""
    beta: float = Field(0.1, gt=0)
    """Strength of the tie to the reference model. Default 0.1 (our choice; the paper does not say)."""
    batch: int = Field(512, ge=1)
    """Pairs a step. Default 512 (paper 6.3)."""
    minimum_pairs: int = Field(32, ge=1)
    """Fewer usable pairs: DPO is skipped, and the report says so."""


class Recipe(Section):
    """The whole recipe. Rooms get their own section, never this."""

    corpus: CorpusSection = CorpusSection()
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelSection = ModelSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    parallel: ParallelSection = ParallelSection()
    checkpoint: CheckpointSection = CheckpointSection()
    ladder: LadderSection = LadderSection()
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> tuple[Recipe, dict[str, str]]:
    """The resolved recipe, and for each `section.key` that is not a default, where its value came from."""
    tree: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if path is not None:
        tree = _read_toml(path)
        for section, keys in tree.items():
            if not isinstance(keys, dict):
                raise ConfigError(
                    f"`{section}` is not a section", remedy=f"write it under [{section}]", file=path, key=section
                )
            origin |= {f"{section}.{key}": str(path) for key in keys}
    for override in overrides:
        key, value = _parse_override(override)
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
        origin[key] = "--set"
    try:
        return Recipe.model_validate(tree), origin
    except ValidationError as error:
        raise _refusal(error, path) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no recipe at {path}", remedy="forescale init DIR makes one", file=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", remedy="mend that line", file=path) from None


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise ConfigError(f"--set {text} is not section.key=value", remedy="write e.g. --set tokenizer.vocab_size=512")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _refusal(error: ValidationError, path: Path | None) -> ConfigError:
    """The first refusal in words, with the nearest valid key."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location[:2])
    if first["type"] == "extra_forbidden":
        if len(location) == 1:
            known = list(Recipe.model_fields)
        else:
            section = Recipe.model_fields[location[0]].annotation
            known = list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
        return ConfigError(
            f"unknown key `{key}`",
            remedy=f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}",
            file=path,
            key=key,
        )
    return ConfigError(
        f"`{key}`: {first['msg']}, not {first['input']!r}",
        remedy="forescale check prints every key with its range",
        file=path,
        key=key,
    )
