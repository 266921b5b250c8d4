"""Question and answer pairs: a signature asks, the first paragraph of its docstring answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from forescale.base.errors import InputError
from forescale.base.files import write_atomic
from forescale.base.records.corpus import Quarantined
from forescale.corpus.read import MAX_LINE, bounded_lines, opened
from forescale.corpus.sources import Described
from forescale.corpus.split import choose_sources

ANSWER = (25, 300)
"""Characters of an answer (our choice: short enough for a model that reads 128 tokens)."""
HELD_SHARE = 0.05
"""Share of the pairs held out where no validation source decides (our choice)."""
PER_OPENING = 12
"""Answers of one source that may begin with the same four words: generated interfaces say one thing thousands of times
(our choice)."""

_ROLE = re.compile(r":[\w:+-]+:`~?([^`<]*?)\s*(?:<[^`>]*>)?`")
_DIRECTIVE = re.compile(r"^\s*\.\. ")
_UNFIT = re.compile(r"(?i)todo|fixme|deprecated|^alias |^see |^internal|^wrapper |>>>|::|\|\||%\(|\{\}|https?://|@|\\")
_QUESTIONS = {
    "function": ("What does `{}` do?", "What does the function `{}` do?", "Explain `{}`."),
    "method": ("What does the method `{}` do?", "What does `{}` do?", "Explain `{}`."),
    "class": ("What is `{}`?", "What is the class `{}`?", "Explain `{}`."),
}


def pair(described: Described, source: str) -> dict[str, Any] | None:
    """A question and its answer, or None where the docstring does not begin with a fit paragraph."""
    names = described.name.split(".")
    if described.kind not in _QUESTIONS or described.signature is None or any(n.startswith("_") for n in names):
        return None
    answer = first_paragraph(described.docstring)
    if not ANSWER[0] <= len(answer) <= ANSWER[1] or not answer[0].isupper() or _UNFIT.search(answer):
        return None
    if answer[-1] in ":;,":
        return None
    if answer[-1] not in ".!":
        answer += "."
    owner = ".".join(names[:-1])
    called = f"{owner}.{described.signature}" if owner else described.signature
    if len(called) > 100:
        return None
    choices = _QUESTIONS[described.kind]
    question = choices[hashlib.sha256(called.encode()).digest()[0] % len(choices)].format(called)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "source": source}


def first_paragraph(docstring: str) -> str:
    """The first paragraph on one line, its markup reduced to backticks; empty where it is none.

    >>> first_paragraph("Give the :class:`~torch.Tensor`\\nas ``x``.\\n\\nMore.")
    'Give the `torch.Tensor` as `x`.'
    """
    paragraph = docstring.strip().split("\n\n")[0]
    if _DIRECTIVE.match(paragraph) or "\n----" in paragraph or "\n====" in paragraph or "\n    " in paragraph:
        return ""
    text = _ROLE.sub(r"`\1`", paragraph).replace("``", "`")
    return re.sub(r"\s+", " ", text).strip()


def select(candidates: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each question and each answer once; of answers that open alike in one source only the first few."""
    questions: set[str] = set()
    answers: set[str] = set()
    openings: dict[tuple[str, str], int] = {}
    for candidate in candidates:
        question, answer = (str(message["content"]) for message in candidate["messages"])
        said = re.sub(r"\W+", " ", answer.lower()).strip()
        opening = (str(candidate["source"]), " ".join(said.split()[:4]))
        if question in questions or said in answers or openings.get(opening, 0) >= PER_OPENING:
            continue
        questions.add(question)
        answers.add(said)
        openings[opening] = openings.get(opening, 0) + 1
        yield candidate


def pairs(candidates: Path, validation_sources: Collection[str], train_out: Path, held_out: Path) -> tuple[int, int]:
    """Write the pairs to tune on, and those of the validation split's sources, held out; gives both numbers.

    Where the validation split is of other text, whole packages are held out all the same, drawn by name.
    """
    rows = [json.loads(line) for line in candidates.read_text(encoding="utf-8").splitlines()]
    counts = Counter(str(row["source"]) for row in rows)
    held = set(validation_sources) & counts.keys() or set(choose_sources(counts, HELD_SHARE, 0))
    return _write(
        [r for r in rows if r["source"] not in held], [r for r in rows if r["source"] in held], train_out, held_out
    )


def user_pairs(path: Path, train_out: Path, held_out: Path) -> tuple[int, int, list[Quarantined]]:
    """The user's conversations: those to tune on and those held out, both counted, and the lines that are bad.

    Whole sources are held out where the file names several; else by a hash of the last answer, so that equal answers
    stand on one side.
    """
    usable, bad = pairs_from_jsonl(path)
    held = set(choose_sources(Counter(str(row["source"]) for row in usable), HELD_SHARE, 0))
    split: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in usable:
        answer = " ".join(str(row["messages"][-1]["content"]).lower().split())
        drawn = int.from_bytes(hashlib.sha256(answer.encode()).digest()[:4], "big") / 2**32
        split[row["source"] in held if held else drawn < HELD_SHARE].append(row)
    if not split[0]:  # a handful of conversations that all fell on one side
        split = (split[1], [])
    return *_write(*split, train_out, held_out), bad


def _write(train: list[dict[str, Any]], held: list[dict[str, Any]], train_out: Path, held_out: Path) -> tuple[int, int]:
    for path, rows in ((train_out, train), (held_out, held)):
        write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return len(train), len(held)


def pairs_from_jsonl(path: Path) -> tuple[list[dict[str, Any]], list[Quarantined]]:
    """Conversations of a JSONL file (`messages`, perhaps `source`), and its bad lines; exit 3 when none is usable."""
    if not path.is_file():
        raise InputError(f"there is no {path}", remedy='give JSONL lines {"messages": [...]}', file=path)
    usable: list[dict[str, Any]] = []
    bad: list[Quarantined] = []
    try:
        with opened(path) as stream:
            for number, line in bounded_lines(stream):
                value = f"a line of more than {MAX_LINE >> 20} MiB" if isinstance(line, int) else _conversation(line)
                if isinstance(value, dict):
                    usable.append(value)
                elif value:
                    bad.append(Quarantined(file=str(path), line=number, reason=value))
    except (OSError, EOFError) as error:
        bad.append(Quarantined(file=str(path), reason=f"unreadable: {error}"))
    if not usable:
        first = bad[0] if bad else None
        raise InputError(
            f"no usable conversation in {path}",
            why=f"{len(bad)} bad lines; the first: {first.reason}" if first else "it is empty",
            remedy='each line: {"messages": [{"role": "user", "content": "..."}, '
            '{"role": "assistant", "content": "..."}]}',
            file=path,
            line=first.line if first else None,
        )
    return usable, bad


def _conversation(line: bytes) -> dict[str, Any] | str:
    """The line's conversation, what is wrong with it, or an empty text for an empty line."""
    if not line.strip():
        return ""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except (ValueError, RecursionError):
        return "not a JSON object"
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not messages:
        return "no `messages`"
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
            return "a message whose role is not system, user or assistant"
        if not isinstance(message.get("content"), str):
            return "a message without a text as `content`"
    roles = [message["role"] for message in messages]
    if roles[0] == "system":
        roles = roles[1:]
    if roles[-1:] != ["assistant"]:
        return "the last message is not the assistant's"
    if roles != ["user", "assistant"] * (len(roles) // 2):
        return "user and assistant do not take turns"
    if not all(message["content"].strip() for message in messages if message["role"] == "assistant"):
        return "an empty answer"
    return {"messages": messages, "source": str(value.get("source", "file"))}
