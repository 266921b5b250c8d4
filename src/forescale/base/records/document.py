"""The Parquet form of a document (here, so that `tokens` needs no `corpus`)."""

from __future__ import annotations

PARQUET_COLUMNS = ("id", "text", "source", "path")
"""Columns of `corpus/train/*.parquet` and `corpus/validation/*.parquet`, all strings; zstd; about 16 MB a part.

`source` is the whole that a validation split must not cut (a package, a site, a book), `path` the file and row."""
