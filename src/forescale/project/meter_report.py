"""A comparison as a page of tables (report.md) and as the object that `--json` prints (comparison.json)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from forescale.base.files import sha256_file, write_atomic
from forescale.base.records.compare import Better, Comparison, Outside
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.tokens import TokensSummary

COMPARISON, PAGE = "comparison.json", "report.md"

PAPER = (
    ("Kaplan et al. (OpenWebText2)", 0.73, 0.27),
    ("Chinchilla (MassiveText)", 0.49, 0.51),
    ("DeepSeek, early data", 0.450, 0.550),
    ("DeepSeek, current data", 0.524, 0.476),
    ("DeepSeek, OpenWebText2", 0.578, 0.422),
)
"""Table 4 of the paper: exponents of model and data in compute."""
REPEATED = (
    "Where tokens are repeated, the best split at that compute goes through a corpus so many times; the order and the "
    "losses count repeated tokens as new ones, so they are those of more text of the same kind."
)


def write_report(
    made: Comparison, corpora: Mapping[str, CorpusSummary], tokens: Mapping[str, TokensSummary], root: Path
) -> None:
    """Write both files under `root`; those of another comparison that lie there are kept beside (`keep_former`)."""
    data = json.dumps(made.to_json(), indent=1).encode() + b"\n"
    keep_former(root, data)
    write_atomic(root / COMPARISON, data)
    write_atomic(root / PAGE, report(made, corpora, tokens).encode())


def keep_former(root: Path, data: bytes) -> Path | None:
    """Move an earlier comparison that says something else than `data` to `report.old/FIRST8OFITSHASH/`.

    As every artifact does with one of another recipe: a second comparison of this name (another outside set, other
    budgets) makes its own ladders beside the first one's, and its order must not take the first one's place unseen.
    """
    former = root / COMPARISON
    if not former.exists() or former.read_bytes() == data:
        return None
    old = root / "report.old" / sha256_file(former)[:8]
    old.mkdir(parents=True, exist_ok=True)
    for name in (PAGE, COMPARISON):  # what tells that there is one goes last, so that a cut move is made again
        if (root / name).exists():
            (root / name).replace(old / name)
    print(f"compare: the earlier comparison in {root}, which says something else, is now in {old}", file=sys.stderr)
    return old


def report(made: Comparison, corpora: Mapping[str, CorpusSummary], tokens: Mapping[str, TokensSummary]) -> str:
    """The page."""
    names = ", ".join(made.corpora)
    parts = [
        f"# Which corpus is better: {names}",
        "The same ladder (budgets, shapes, learning rates, batches, seeds) on each corpus, one tokenizer, scored on "
        + ("one outside set." if len(made.sets) < 2 else f"{len(made.sets)} outside sets: together, then each alone."),
        *_corpora(made, corpora, tokens),
        *_exponents(made),
        *_better(made),
        *_paired(made),
        *_sets(made),
        *(_outside(made.outside) if made.outside else []),
    ]
    said = [*made.warnings, *(f"{name}'s fit: {text}" for name, laws in made.corpora.items() for text in laws.warnings)]
    if said:
        parts += ["## Warnings", "\n".join(f"- {text}" for text in said)]
    return "\n\n".join(parts) + "\n"


def _corpora(made: Comparison, corpora: Mapping[str, CorpusSummary], tokens: Mapping[str, TokensSummary]) -> list[str]:
    rows = []
    for name, summary in corpora.items():
        laws = made.corpora[name]
        rows.append(
            (name, f"{summary.train.documents:,}", f"{summary.train.bytes / 1e6:.1f}", f"{tokens[name].train.tokens:,}",
             f"{sum(summary.removed.values()):,}", f"{tokens[name].bigram_bpb:.3f}", str(laws.runs.used), laws.regime)
        )  # fmt: skip
    head = ("corpus", "documents", "MB", "tokens", "removed", "bigrams, bits/byte", "runs used", "regime")
    return ["## Corpora", _table(head, rows)]


def _exponents(made: Comparison) -> list[str]:
    rows = []
    for name, laws in made.corpora.items():
        allocation = laws.allocation
        if allocation is None:
            rows.append((name, "-", "-", "-", "-"))
            continue
        spans = (_span(allocation.intervals.get(key)) for key in ("model_exponent", "data_exponent"))
        a, b = spans
        rows.append((name, f"{allocation.model_exponent:.3f}", a, f"{allocation.data_exponent:.3f}", b))
    rows += [(f"*{name}*", f"{a:.3f}", "-", f"{b:.3f}", "-") for name, a, b in PAPER]
    level = next(iter(made.corpora.values())).level
    head = ("data", "a (model)", f"{level:.0%} interval", "b (data)", f"{level:.0%} interval")
    return [
        "## Exponents",
        "Best model size grows as C^a, best data as C^b. *In italics* the paper's Table 4: there better data came with "
        "a larger a.",
        _table(head, rows),
    ]


def _better(made: Comparison) -> list[str]:
    unit = {"bpb": "bits/byte"}.get(next(iter(made.corpora.values())).unit, "nats/token")
    rows = [_ranked(b) for b in made.better]
    repeated = any(b.repeats for b in made.better)
    lines = [
        f"{c.pair[0]} is better below {c.flops:.3g} FLOPs, {c.pair[1]} above"
        + ("" if c.probability is None else f" ({c.probability:.0%} of the draws cross)")
        for c in made.crossings
    ]
    head = ("FLOPs", "best first", "probability of the first", f"expected loss, {unit}", "tokens repeated")
    return [
        "## Better at which compute",
        *([REPEATED] if repeated else []),
        _table(head, rows),
        " · ".join(lines) or "No crossing in the range looked at.",
    ]


def _ranked(b: Better) -> tuple[str, str, str, str, str]:
    """Compute, order, probability of the first, expected losses, and which corpora it would need more than once."""
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in b.losses.items())
    repeats = ", ".join(f"{name} {times:.3g} x" for name, times in b.repeats.items()) or "-"
    return f"{b.flops:.3g}", ", ".join(b.order), f"{b.probability:.0%}", losses, repeats


def _paired(made: Comparison) -> list[str]:
    if not made.paired:
        return []
    rows = [
        (f"{p.flops:.3g}", f"{p.pair[0]} against {p.pair[1]}", str(p.runs), f"{100 * p.difference:+.2f}%",
         "-" if p.interval is None else _percents(p.interval),
         f"{p.first_better} of {p.runs}") for p in made.paired
    ]  # fmt: skip
    head = ("FLOPs", "pair", "pairs of runs", "difference of loss", "90% interval", "first better")
    words = (
        "Runs of equal shape, tokens, rate, batch and seed: measured, no law between. Below zero the first is better."
    )
    parts = ["## Like runs side by side", words, _table(head, rows)]
    for line in made.trends:
        a, b = line.pair
        where = "no crossing near" if line.crossing is None else f"crossing at {line.crossing:.3g} FLOPs"
        parts += [
            f"Trend of {a} against {b}: {100 * line.slope:+.2f}% for ten times the compute "
            f"(90%: {_percents(line.interval)}), {where}.",
            _table(
                ("FLOPs", "difference", "90% interval", f"probability that {a} is better"),
                [(f"{p.flops:.3g}", f"{100 * p.difference:+.2f}%", _percents(p.interval), f"{p.first_better:.0%}")
                 for p in line.points],
            ),
        ]  # fmt: skip
    return parts


def _sets(made: Comparison) -> list[str]:
    """The order on each outside set alone, and what like runs say of it at the largest budget."""
    if not made.sets:
        return []
    rows = [(name, *_ranked(b)) for name, order in made.sets.items() for b in order.better]
    pairs = [
        (name, f"{p.flops:.3g}", f"{p.pair[0]} against {p.pair[1]}", f"{100 * p.difference:+.2f}%",
         "-" if p.interval is None else _percents(p.interval))
        for name, order in made.sets.items()
        for p in order.paired
        if p.flops == max(q.flops for q in order.paired)
    ]  # fmt: skip
    parts = [
        "## Set by set",
        "The same runs, scored on each outside set alone.",
        _table(("set", "FLOPs", "best first", "probability of the first", "expected loss", "tokens repeated"), rows),
    ]
    if pairs:
        parts += [
            "Like runs at the largest budget:",
            _table(("set", "FLOPs", "pair", "difference of loss", "90% interval"), pairs),
        ]
    return parts


def _outside(outside: Outside) -> list[str]:
    rows = []
    for made in outside.sets:
        near = ", ".join(f"{name} {n}" for name, n in made.contaminated.items())
        gone = ", ".join(f"{why} {n}" for why, n in made.removed.items()) or "none"
        rows.append((made.name, f"{made.documents:,}", near, gone, f"{made.used_documents:,}", f"{made.used_bytes:,}"))
    head = ("set", "documents", "resemble training text of", "left out", "used", "bytes used")
    contact = ", ".join(f"{name} {100 * rate:.2g}%" for name, rate in outside.contact.items())
    words = (
        f"{outside.tokens:,} tokens, of which every run is scored on the same {outside.scored_tokens:,}. Share of its "
        f"{outside.contact_ngram}-word n-grams that occur in training text: {contact}."
    )
    return ["## The outside set", _table(head, rows), words]


def _percents(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:+.2f}% to {100 * interval[1]:+.2f}%"


def _span(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
