from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "train"))

from tiny_runs import write_tokens


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "tokens", n_train=30_000)
    return tmp_path
