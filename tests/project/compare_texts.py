"""Two small made-up corpora and a recipe: what the tests of `compare` on text stand on."""

import json
import random

RECIPE = """
[corpus]
validation_share = 0.2
[tokenizer]
vocab_size = 300
[model]
seq_len = 32
head_dim = 4
ffn_multiple = 4
[train]
validation_tokens = 40_000
[ladder]
budgets = [2.5e8, 5e8, 1e9, 2e9]
sizes_per_budget = 3
"""
SYLLABLES = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu", "chra", "plo"]


def write(folder, seed, sources=5, documents=30, copies=(), vocabulary=None):
    """Folders of documents of made-up words; texts of one `vocabulary` (a seed too) share their words."""
    rng = random.Random(seed if vocabulary is None else vocabulary)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(200)]
    rng = random.Random(seed)
    for source in range(sources):
        texts = [
            " ".join(" ".join(rng.choices(words, k=12)).capitalize() + "." for _ in range(100))
            for _ in range(documents)
        ]
        path = folder / f"source{source}" / "documents.jsonl"
        path.parent.mkdir(parents=True)
        texts += copies if source == 1 else []
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def texts_of(folder):
    files = sorted(folder.glob("*/documents.jsonl"))
    return [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]
