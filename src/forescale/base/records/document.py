"""A document, and its Parquet form (here, so that `tokens` needs no `corpus`)."""

from __future__ import annotations

from typing import NamedTuple


class Document(NamedTuple):
    """One text with its name and origin. A NamedTuple: millions of them flow."""

    id: str
    text: str
    source: str
    """The whole that a validation split must not cut: a package, a site, a book."""
    path: str
    """File (and row) it came from."""


PARQUET_COLUMNS = ("id", "text", "source", "path")
"""Columns of `corpus/train/*.parquet` and `corpus/validation/*.parquet`, all strings; zstd; about 16 MB a part."""
