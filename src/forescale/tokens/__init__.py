"""Tokenizer, token shards, and the stream of batches that every run reads."""
