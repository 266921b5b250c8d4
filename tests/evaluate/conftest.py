"""Fixtures shared with the other rooms that need a tiny model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_chat import base_weights, chats  # noqa: F401
