"""Chat in a terminal, the answer appearing as it is made."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from forescale.align.chat import Message, prompt_ids
from forescale.engine.engine import Engine
from forescale.serve.about import about

HELP = "/new forgets the conversation, /quit or Ctrl-D leaves, Ctrl-C stops an answer."


def chat(
    weights_dir: Path,
    *,
    system: str | None = None,
    temperature: float = 0.7,
    top_p: float = 0.95,
    max_new: int = 1024,
    seed: int = 0,
    console: Console | None = None,
) -> int:
    """Talk until the input ends; gives the number of answers. Standard input may be a pipe: one question a line."""
    console = console or Console()
    engine = Engine(weights_dir)
    console.print(Panel(Text(f"{about(weights_dir, engine.model.shape)}\n{HELP}"), title=weights_dir.parent.name))
    opening = [Message("system", system)] if system else []
    history, answered = list(opening), 0
    for line in _questions(console):
        question = line.strip()
        if question in ("/quit", "/exit"):
            break
        if question == "/new":
            history = list(opening)
            console.print("A new conversation.", style="dim")
            continue
        if not question:
            continue
        history = room_for([*history, Message("user", question)], engine)
        if not history:
            console.print(f"That is longer than the {engine.limit:,} tokens the model sees.", style="yellow")
            history = list(opening)
            continue
        text = _answer(engine, history, console, temperature, top_p, max_new, seed + answered)
        history.append(Message("assistant", text))
        answered += 1
    return answered


def _questions(console: Console) -> Iterator[str]:
    """Lines of the person or the pipe, until Ctrl-C, Ctrl-D or the end."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            console.print(Text(f"User: {line.rstrip()}", style="bold"))
            yield line
        return
    while True:
        try:
            yield console.input("[bold]User:[/] ")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return


def room_for(messages: Sequence[Message], engine: Engine) -> list[Message]:
    """The conversation without its oldest turns, so that a quarter of the positions stays free for the answer.

    Empty where the last question alone does not fit.
    """
    kept = list(messages)
    first = 1 if kept and kept[0].role == "system" else 0
    while len(prompt_ids(kept, engine.tokenizer)) > engine.limit * 3 // 4:
        if len(kept) - first > 2:
            del kept[first : first + 2]  # a question and its answer
        elif len(prompt_ids(kept, engine.tokenizer)) < engine.limit:
            return kept
        else:
            return []
    return kept


def _answer(
    engine: Engine,
    history: Sequence[Message],
    console: Console,
    temperature: float,
    top_p: float,
    max_new: int,
    seed: int,
) -> str:
    """Print one answer as it comes; Ctrl-C ends it and keeps what was said."""
    console.print("Assistant:", style="bold green", end="")
    said: list[str] = []
    ids = engine.stream(
        prompt_ids(history, engine.tokenizer), max_new=max_new, temperature=temperature, top_p=top_p, seed=seed
    )
    try:
        for piece in pieces(ids, engine):
            said.append(piece)
            console.print(Text(piece), end="", soft_wrap=True)
    except KeyboardInterrupt:
        console.print(" (stopped)", style="dim", end="")
    console.print()
    return "".join(said).removeprefix(" ")


def pieces(ids: Iterator[int], engine: Engine) -> Iterator[str]:
    """Text as soon as its bytes are whole characters; bytes that never become one are shown as U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in ids:
        piece = decoder.decode(engine.tokenizer.decode_bytes([token]))
        if piece:
            yield piece
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest
