"""Libraries that hide the operating system's error: still exit 8, with a remedy."""

from __future__ import annotations

import errno

from forescale.cli.failures import in_our_words


def test_a_full_disk_beneath_safetensors_is_no_bug_of_ours():
    hidden = type("SafetensorError", (Exception,), {})
    told = in_our_words(hidden(f"Error while serializing: I/O error: No space left (os error {errno.ENOSPC})"))
    assert told.exit_code == 8
    assert "No space left on device" in told.what
    assert "free space" in told.remedy
    assert in_our_words(hidden("header too large")).exit_code == 1
