"""Which column of other people's tables is which of ours: W&B, OLMo-core, torchtitan, nanochat, Megatron, ..."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from forescale.base.errors import ConfigError
from forescale.scaling.sources import Row

ALIASES: dict[str, tuple[str, ...]] = {
    "run": ("run", "run_name", "name", "run_id", "id"),
    "flops_per_token": (
        "flops_per_token", "m", "non_embedding_flops_per_token", "num_flops_per_token", "flops_token", "model_scale",
    ),
    "params_non_embedding": (
        "params_non_embedding", "non_embedding_params", "params_no_embed", "params_no_emb", "n_params_non_embedding",
        "num_non_embedding_params", "nparams_no_embedding", "params_no_embedding", "non_embedding_parameters",
        "num_params_no_embedding", "parameters_non_embedding", "n_non_embedding", "transformer_params", "n1",
        "params_noemb", "non_emb_params", "params_non_emb",
    ),
    "params": (
        "params", "n_params", "num_params", "parameters", "num_parameters", "total_params", "nparams", "n", "n2",
        "model_params", "n_parameters", "model_size", "param_count", "total_parameters", "model_num_params",
        "effective_params", "parameter_count", "number_of_parameters", "params_count", "parameters_count",
    ),
    "active_params": ("active_params", "num_active_params", "active_parameters", "n_active", "params_active"),
    "n_layer": ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "depth", "layers"),
    "d_model": ("d_model", "hidden_size", "n_embd", "dim", "model_dim", "hidden_dim", "width"),
    "n_head": ("n_head", "n_heads", "num_attention_heads", "num_heads"),
    "n_kv_head": ("n_kv_head", "n_kv_heads", "num_key_value_heads", "num_query_groups"),
    "d_ffn": ("d_ffn", "d_ff", "ffn_hidden_size", "intermediate_size", "mlp_hidden_size", "ffn_dim"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "seq_len": (
        "seq_len", "seq_length", "sequence_length", "max_seq_len", "max_sequence_length", "context_length",
        "block_size", "max_position_embeddings", "n_ctx",
    ),
    "tokens": (
        "tokens", "n_tokens", "num_tokens", "total_tokens", "tokens_seen", "n_tokens_seen", "train_tokens",
        "consumed_train_tokens", "consumed_tokens", "throughput_total_tokens", "total_training_tokens", "d",
        "training_tokens", "token_count", "num_tokens_seen", "dataset_tokens", "ntokens",
    ),
    "samples": ("samples", "consumed_train_samples", "consumed_samples", "train_samples", "total_samples"),
    "flops": (
        "flops", "c", "compute", "total_flops", "train_flops", "total_training_flops", "training_flops",
        "compute_flops", "n_flops", "num_flops", "total_flos", "throughput_total_flops",
    ),
    "budget": ("budget", "budget_flops", "flop_budget", "flops_budget", "isoflop", "compute_budget"),
    "bpb": (
        "bpb", "val_bpb", "validation_bpb", "eval_bpb", "bits_per_byte", "valid_bpb", "final_bpb", "val_bits_per_byte",
        "eval_bits_per_byte",
    ),
    "loss": (
        "loss", "val_loss", "validation_loss", "eval_loss", "valid_loss", "test_loss", "lm_loss_validation",
        "validation_lm_loss", "eval_lm_loss", "final_val_loss", "val_ce_loss", "eval_ce_loss", "loss_val", "loss_eval",
        "validation_metrics_loss", "final_loss", "loss_c4_val", "c4_eval_loss", "nats_per_token", "best_val_loss",
        "train_loss", "train_ce_loss", "training_loss", "lm_loss", "loss_metrics_global_avg_loss", "smooth_loss",
        "global_avg_loss", "train_loss_ema", "smooth_train_loss",
    ),
    "lr": (
        "lr", "learning_rate", "peak_lr", "max_lr", "base_lr", "peak_learning_rate", "max_learning_rate",
        "optimizer_lr", "matrix_lr", "optim_lr", "optim_lr_group_0", "learningrate",
    ),
    "batch_tokens": (
        "batch_tokens", "batch_size_tokens", "global_batch_tokens", "total_batch_size", "tokens_per_batch",
        "global_batch_size_tokens", "tokens_per_step", "batch_size_in_tokens",
    ),
    "batch_seqs": (
        "batch_seqs", "global_batch_seqs", "global_batch_size", "batch_size", "batch_sequences", "training_batch_size",
    ),
    "seed": ("seed", "random_seed", "training_seed", "init_seed"),
    "group": ("group", "corpus", "train_set", "dataset", "data", "train_dataset", "data_mix", "mix",
              "training_mix", "train_mix", "data_mixture", "mixture", "training_mixture", "training_data", "train_data",
              "training_set", "training_corpus", "training_dataset", "pretraining_data"),
    "trunk": ("trunk",),
    "tokenizer": ("tokenizer", "tokenizer_name", "tokenizer_type"),
    "validation": ("validation", "validation_set", "val_set", "eval_set"),
    "schedule": ("schedule", "lr_schedule", "scheduler", "lr_scheduler_type", "lr_decay_style", "decay"),
    "warmup_tokens": ("warmup_tokens", "lr_warmup_tokens"),
    "weight_decay": ("weight_decay", "wd", "optim_weight_decay"),
    "optimizer": ("optimizer", "optimizer_name", "optim"),
    "steps": (
        "steps", "step", "n_steps", "num_steps", "total_steps", "train_steps", "train_iters", "iteration", "iters",
    ),
    "unique_tokens": ("unique_tokens", "unique_train_tokens"),
    "hardware_flops": ("hardware_flops",),
    "seconds": ("seconds", "runtime", "total_training_time", "wall_time_seconds", "train_runtime"),
    "bigram_bpb": ("bigram_bpb", "bigram_entropy_bpb"),
    "bigram_loss": ("bigram_loss", "bigram_nats", "bigram_entropy"),
    "status": ("status", "state", "run_status"),
    "unit": ("unit", "loss_unit", "metric_unit"),
}  # fmt: skip
"""Our column -> names it goes by elsewhere (lower case, signs as `_`), best first."""

TRAINING_LOSSES = frozenset(ALIASES["loss"][ALIASES["loss"].index("train_loss") :])
"""Names that mean the loss on training text."""

EVALUATIONS = (("loss", r"(^|_)(val|valid|validation|eval)(_|$).*loss"), ("bpb", r"(^|_)bpb$"))
"""Names that mean a loss on held-out text, whatever the text is called."""

CONFIGURED = frozenset(ALIASES) - {"run", "group", "trunk", "tokenizer", "validation", "status", "unit", "loss", "bpb"}
"""What the last part of a nested setting may name (`config.model.n_params`): never a name, never an outcome."""

PREFIXES = ("config", "summary", "args", "params", "hparams", "parameters", "metrics")


def normal(name: str) -> str:
    """A column's name without case, signs, and the prefixes of experiment trackers.

    >>> normal("config.Learning-Rate"), normal("eval/CE loss"), normal("throughput/total tokens")
    ('learning_rate', 'eval_ce_loss', 'throughput_total_tokens')
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    if len(words) > 1 and words[0] in PREFIXES and not re.match(r"(?i)^(params|parameters)_", name):
        words = words[1:]
    return "_".join(words)


def guess(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Our column -> the table's column, for all that can be told; each of the table's columns is used once."""
    names = list(names)
    present: dict[str, str] = {}
    for name in names:
        present.setdefault(normal(name), name)
    used = set(taken)
    found: dict[str, str] = {}
    for ours, aliases in ALIASES.items():
        for alias in aliases:
            theirs = present.get(alias)
            if theirs is not None and theirs not in used:
                found[ours] = theirs
                used.add(theirs)
                break
    for ours, theirs in _nested(names).items():
        if ours not in found and theirs not in used:
            found[ours] = theirs
            used.add(theirs)
    for ours in ("loss", "bpb"):
        matches = [name for name in evaluations(names, ours) if name not in used]
        trained = ours in found and normal(found[ours]) in TRAINING_LOSSES
        if (ours not in found or trained) and len(matches) == 1:
            found[ours] = matches[0]
            used.add(matches[0])
    return found


def evaluations(names: Iterable[str], ours: str = "loss") -> list[str]:
    """Columns that by their names hold a loss (or bits per byte) on held-out text."""
    return [name for name in names if re.search(dict(EVALUATIONS)[ours], normal(name))]


def _nested(names: Iterable[str]) -> dict[str, str]:
    """Settings below a tracker's prefix (`config.model.n_params`) by their last part; those of an evaluation never."""
    alias = {alias: ours for ours in CONFIGURED for alias in ALIASES[ours] if len(alias) > 1}
    found: dict[str, str] = {}
    for name in names:
        *above, last = re.split(r"[./]", name)
        if above and normal(above[0]) in PREFIXES and not re.search(r"(?i)eval|valid|test", name):
            ours = alias.get(normal(last))
            if ours:
                found.setdefault(ours, name)
    return found


def apply_mapping(
    rows: list[Row], mappings: Sequence[str], known: Iterable[str] = ALIASES
) -> tuple[dict[str, str], list[Row]]:
    """Apply `NAME=COLUMN`, `NAME=base**COLUMN` or `NAME=factor*COLUMN`; gives what was mapped, and the new rows.

    `known`: the names that there are; a run table's, where nothing else is said.
    """
    mapped: dict[str, str] = {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    for text in mappings:
        ours, equals, theirs = (part.strip() for part in text.partition("="))
        if not equals or not ours or not theirs:
            raise ConfigError(f"--column {text} is not NAME=COLUMN", remedy="write e.g. --column lr=peak_lr")
        if ours not in known:
            raise ConfigError(f"`{ours}` is no name of ours", remedy=_near(ours, known), key=ours)
        base, power, column = (part.strip() for part in theirs.partition("**"))
        factor, column = (1.0, column) if power else _times(theirs, names)
        if column not in names:
            raise ConfigError(f"the table has no column `{column}`", remedy=_near(column, names), key=column)
        new = []
        for row in rows:
            value = row.get(column)
            if power:
                exponent = number(value)
                value = None if exponent is None else _power(base, exponent)
            elif factor != 1.0:
                plain = number(value)
                value = value if plain is None else factor * plain
            new.append({**row, f"\0{ours}": value})
        rows = new
        mapped[ours] = theirs
    return mapped, rows


def _power(base: str, exponent: float) -> float:
    """A base to a cell's value; `e` is Euler's number, and what overflows is infinite (and so listed)."""
    try:
        return float(math.e if base == "e" else base) ** exponent
    except OverflowError:
        return math.inf
    except ValueError as error:
        raise ConfigError(f"`{base}` is no base of a power", remedy="write e.g. --column lr=2**log2_lr") from error


def _times(text: str, names: list[str]) -> tuple[float, str]:
    """`1e9*tokens` as factor and column; a column of that very name is meant as it stands."""
    factor, star, column = (part.strip() for part in text.partition("*"))
    value = number(factor) if star and text not in names else None
    return (1.0, text) if value is None else (value, column)


def apply_where(rows: list[Row], conditions: Sequence[str], found: dict[str, str]) -> list[bool]:
    """Which rows satisfy all of `COLUMN=VALUE`; numbers are compared as numbers."""
    keep = [True] * len(rows)
    names = list(rows[0]) if rows else []
    for text in conditions:
        column, equals, wanted = (part.strip() for part in text.partition("="))
        if not equals:
            raise ConfigError(f"--where {text} is not COLUMN=VALUE", remedy="write e.g. --where hparams=tuned")
        theirs = column if column in names else found.get(column, column)
        if theirs not in names:
            raise ConfigError(f"the table has no column `{column}`", remedy=_near(column, names), key=column)
        keep = [k and _same(row.get(theirs), wanted) for k, row in zip(keep, rows, strict=True)]
        if not any(keep):
            seen = sorted({str(row.get(theirs)) for row in rows})[:12]
            raise ConfigError(f"no row has {column}={wanted}", remedy=f"it holds: {', '.join(seen)}", key=column)
    return keep


def where_option(column: str, value: str) -> str:
    """`--where COLUMN=VALUE` as a shell takes it.

    >>> where_option("team", "a"), where_option("Training Mix", "a")
    ('--where team=a', "--where 'Training Mix=a'")
    """
    text = f"{column}={value}"
    return f"--where '{text}'" if re.search(r"[^\w=.:/+-]", text) else f"--where {text}"


def _same(value: Any, wanted: str) -> bool:
    if str(value).strip() == wanted:
        return True
    a, b = number(value), number(wanted)
    return a is not None and b is not None and a == b


def _near(name: str, known: Iterable[str]) -> str:
    options = list(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(options)}"


MISSING = frozenset({"none", "null", "n/a", "na", "-"})
"""What a cell says that says nothing."""

THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d*)?(?=\D*$)")
"""Commas in their places: 1,500 and 2,000,000.5, but not 3,14 and not 0,914."""
SPACED = re.compile(r"-?\d{1,3}(?:([ _'\u2019\u00a0\u2009\u202f])\d{3})(?:\1\d{3})*(\.\d*)?(?=\D*$)")
"""Other signs in the same places: 1 500 000, 1_500_000, 1'500'000."""
OWN_UNIT = re.compile(r"(?i)^([-+]?[\d.]+(?:e[-+]?\d+)?)\s*(k|m|b|t|bn|thousand|million|billion|trillion)s?$")
UNITS = {"k": 1e3, "t": 1e12, "m": 1e6, "b": 1e9}
"""By the first letter; a thousand is told from a trillion by its second."""


def number(value: Any) -> float | None:
    """A cell as a float: 2e12, 1,000,000, 7B, 1.5 trillion; None where it is empty or no number; nan stays nan.

    >>> number("2e12"), number("1,500"), number("7B"), number(""), number("x")
    (2000000000000.0, 1500.0, 7000000000.0, None, None)
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()
    spaced = SPACED.match(text)
    if spaced:
        text = text.replace(spaced[1], "")
    if "," in text:  # thousands, or else a decimal comma, which is not guessed at
        text = text.replace(",", "") if THOUSANDS.match(text) else ""
    if not text or text.lower() in MISSING:
        return None
    factor = 1.0
    own = OWN_UNIT.match(text)
    if own:
        word = own[2].lower()
        factor, text = 1e3 if word.startswith("th") else UNITS[word[0]], own[1]
    try:
        return float(text) * factor if "_" not in text else None
    except ValueError:
        return None


def names_its_unit(value: Any) -> bool:
    """Whether a cell says its own unit (7B, 125 million)."""
    return isinstance(value, str) and bool(OWN_UNIT.match(value.strip().replace(",", "")))


def not_a_number(value: Any) -> str:
    """The text of a cell that says something, but no number; empty for a number and for a missing cell.

    >>> not_a_number("abc"), not_a_number("1e9"), not_a_number(" n/a ")
    ('abc', '', '')
    """
    text = text_of(value)
    return "" if number(value) is not None or text.lower() in MISSING else text


def text_of(value: Any) -> str:
    """A cell as text; empty for missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()
