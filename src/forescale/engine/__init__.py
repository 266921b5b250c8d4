"""Generation and scoring with a key/value cache. Reads weights, never a training checkpoint."""
