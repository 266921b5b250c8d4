"""How many threads a model of a given size can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

TINY = 3e6
"""Weights below which a second thread does not help (our choice, by the measurement in `few_threads`)."""


@contextmanager
def few_threads(n_parameters: float) -> Iterator[None]:
    """One torch thread inside the block while the model is tiny, whatever the caller's environment says.

    At 0.4 million weights two threads gain nothing on a quiet machine, and where they wait for each other beside other
    work they lose a factor of six (measured: 8 s against 47 s for the same tuning run).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if n_parameters < TINY else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
