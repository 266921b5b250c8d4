"""Chat examples, supervised tuning and direct preference optimisation (paper 6)."""
