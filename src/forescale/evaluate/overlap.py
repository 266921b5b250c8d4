"""How close is an answer to a reference? Character n-grams, so that no language and no word splitting is assumed."""

from __future__ import annotations

from collections import Counter


def chrf(answer: str, reference: str, *, longest: int = 6, beta: float = 2.0) -> float:
    """Mean F-score of character 1- to 6-grams, white space left out, recall twice as heavy (Popović 2015).

    >>> chrf("the same", "the same"), chrf("abc", "xyz")
    (1.0, 0.0)
    """
    a, r = "".join(answer.split()), "".join(reference.split())
    scores = []
    for n in range(1, longest + 1):
        ours, theirs = _grams(a, n), _grams(r, n)
        if not theirs and not ours:
            continue
        shared = sum((ours & theirs).values())
        precision = shared / max(1, sum(ours.values()))
        recall = shared / max(1, sum(theirs.values()))
        weighted = beta * beta * precision + recall
        scores.append((1 + beta * beta) * precision * recall / weighted if weighted else 0.0)
    return sum(scores) / len(scores) if scores else 0.0


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
