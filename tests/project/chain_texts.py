import json
import random

RECIPE = """
[corpus]
sources = ["text"]
validation_share = 0.15
[tokenizer]
vocab_size = 300
[model]
seq_len = 32
head_dim = 8
ffn_multiple = 8
[train]
validation_tokens = 2048
[ladder]
budgets = [3e9, 6e9, 1.2e10]
sizes_per_budget = 4
"""
SYLLABLES = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu"]


def write_text(folder, seed=0):
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(300)]
    for source in range(8):
        path = folder / f"source{source}" / "documents.jsonl"
        path.parent.mkdir(parents=True)
        with path.open("w") as file:
            for _ in range(220):
                sentences = [" ".join(rng.choices(words, k=9)).capitalize() + "." for _ in range(25)]
                file.write(json.dumps({"text": " ".join(sentences)}) + "\n")
