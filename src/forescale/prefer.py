"""Preference pairs from a model's own answers (paper 6.3: candidates come from the chat model itself).

Who ranks is not given in the paper. Here a rule ranks, and each pair says which: an answer that goes round in a
circle to its last position loses to one that was merely cut off, that one to one that ended but is empty, repeats or
is broken, and that one to a proper answer. Among proper answers the one closer to the reference answer (chrF) wins,
if the gap is clear. Likelihood never ranks: it would teach the model to like what it likes, and short answers most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from forescale.align.chat import prompt_ids
from forescale.align.data import Chat, Pair, pair_line, read_chats
from forescale.base.files import write_atomic
from forescale.base.records.align import PreferSummary
from forescale.engine.engine import Engine
from forescale.evaluate.overlap import chrf
from forescale.evaluate.repetition import repeats

SUMMARY = "prefer.json"
CLEAR_GAP = 0.05
"""Difference in chrF from which one proper answer is closer than another (our choice)."""
LOOP, CUT, POOR, PROPER = range(4)
REASONS = {LOOP: "repeats", CUT: "unterminated", POOR: "empty, repeating or broken"}
"""Why the rejected answer lost, by its class; between proper answers: `closer`."""


class Answer(NamedTuple):
    """A sampled answer as it is judged."""

    text: str
    ended: bool
    quality: int
    closeness: float
    """chrF to the reference answer."""


def judge(text: str, ended: bool, reference: str) -> Answer:
    """Class of an answer and how close it is to the reference."""
    loop = repeats(text)
    if not ended:
        quality = LOOP if loop else CUT
    else:
        broken = "\ufffd" in text  # bytes that are no character
        quality = POOR if loop or broken or not text.strip() else PROPER
    return Answer(text, ended, quality, chrf(text, reference))


def best_pair(question: Chat, answers: Sequence[Answer]) -> Pair | str:
    """The proper answer closest to the reference against the worst one; or why there is no pair."""
    best = max(answers, key=lambda a: (a.quality, a.closeness))
    worst = min(answers, key=lambda a: (a.quality, a.closeness))
    if best.quality < PROPER:
        return "no proper answer"
    if worst.quality == PROPER and best.closeness - worst.closeness < CLEAR_GAP:
        return "all answers alike"
    return Pair(question.question, best.text, worst.text, REASONS.get(worst.quality, "closer"), best.ended, worst.ended)


def make_pairs(
    weights_dir: Path,
    prompts_jsonl: Path,
    out: Path,
    *,
    n_samples: int = 4,
    seed: int = 0,
    temperature: float = 0.9,
    top_p: float = 1.0,
    max_new: int = 4096,
    limit: int | None = 256,
) -> PreferSummary:
    """Sample `n_samples` answers to each question, write at most one pair a question to `out` (JSONL) and the summary
    beside it (`prefer.json`).

    `limit` takes at most so many questions, spread evenly over the file (None: all). Questions that leave no room for
    an answer are counted as unusable.
    """
    started = time.monotonic()
    engine = Engine(weights_dir)
    chats = read_chats(prompts_jsonl)
    if limit is not None and limit < len(chats):
        chats = [chats[i * len(chats) // limit] for i in range(limit)]
    asked = [(chat, prompt_ids(chat.question, engine.tokenizer)) for chat in chats]
    # An answer that had no room to end must not count as one that would not.
    fitting = [(chat, ids) for chat, ids in asked if len(ids) <= engine.limit // 2]
    completions = engine.generate(
        [ids for _, ids in fitting for _ in range(n_samples)],
        max_new=max_new,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        batch=64,
    )
    unusable, reasons, lines = Counter({"question too long": len(asked) - len(fitting)}), Counter[str](), []
    ended = looping = 0
    for number, (chat, _) in enumerate(fitting):
        own = completions[number * n_samples : (number + 1) * n_samples]
        answers = [judge(engine.tokenizer.decode(c.ids).removeprefix(" "), c.finished, chat.answer) for c in own]
        ended += sum(a.ended for a in answers)
        looping += sum(a.quality == LOOP for a in answers)
        pair = best_pair(chat, answers)
        if isinstance(pair, str):
            unusable[pair] += 1
        else:
            reasons[pair.reason] += 1
            lines.append(pair_line(pair))
    write_atomic(out, "".join(lines).encode())
    summary = PreferSummary(
        prompts=len(asked),
        samples=len(completions),
        ended=ended,
        repeating=looping,
        pairs=len(lines),
        by_reason=dict(reasons),
        unusable={reason: n for reason, n in unusable.items() if n},
        temperature=temperature,
        seed=seed,
        seconds=time.monotonic() - started,
    )
    summary.write(out.with_name(SUMMARY))
    return summary
