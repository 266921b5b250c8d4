"""A tiny untrained model with its tokenizer, and a chat file it can learn in seconds: fixtures for several rooms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

WORDS = ("tree", "river", "stone", "cloud", "bird", "fire", "leaf", "snow", "wind", "star")


def conversations() -> list[dict[str, object]]:
    """Sixty questions whose answers follow one simple rule."""
    rows = []
    for word in WORDS:
        for number in range(1, 7):
            rows.append(
                {
                    "messages": [
                        {"role": "user", "content": f"Say {word} {number} times."},
                        {"role": "assistant", "content": ", ".join([word] * number) + "."},
                    ],
                    "source": word,
                }
            )
    return rows


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All conversations as JSONL."""
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in conversations()))
    return path


@pytest.fixture(scope="session")
def base_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder: width 48, two layers, 96 positions, untrained."""
    from forescale.base.shape import ModelShape
    from forescale.model import weights
    from forescale.model.transformer import Transformer, initialise
    from forescale.tokens.tokenizer import Tokenizer, train_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    text = [message["content"] for row in conversations() for message in row["messages"]]  # type: ignore[attr-defined]
    train_tokenizer(text * 3, 300, folder / "tokenizer")

    size = Tokenizer.open(folder / "tokenizer").vocab_size
    model = Transformer(ModelShape(2, 48, 4, 2, 128, size, 96))
    initialise(model, 0)
    weights.save(model, folder / "weights", folder / "tokenizer")
    return folder / "weights"
