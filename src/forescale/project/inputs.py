"""What a corpus is made of, by name and content: so that a changed file makes a new corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forescale.base.errors import InputError
from forescale.base.files import sha256_file


def hash_inputs(paths: Sequence[Path]) -> dict[str, str]:
    """Relative path -> SHA-256 of every input file; a missing path is exit 3."""
    hashes: dict[str, str] = {}
    for root in paths:
        if not root.exists():
            raise InputError(f"{root} does not exist", remedy="check the path", file=root)
        files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
        for file in files:
            name = str(file.relative_to(root)) if root.is_dir() else file.name
            try:
                hashes[f"{root.name}/{name}"] = sha256_file(file)
            except OSError as error:
                # An unreadable file is part of the input all the same: the corpus room counts and lists it.
                hashes[f"{root.name}/{name}"] = f"unreadable: {error.strerror}"
    return hashes
