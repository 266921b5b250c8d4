"""Documents in, clean documents out: reading, deduplication, quality rules, the validation split (paper 1.1)."""
