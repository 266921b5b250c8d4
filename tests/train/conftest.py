from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import write_tokens

torch.set_num_threads(1)  # on a busy machine two threads of a tiny model wait for each other


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    write_tokens(root / "tokens")
    return root


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    (tmp_path / "tokens").symlink_to(tiny_root / "tokens")
    return tmp_path
