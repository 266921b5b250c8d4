"""The nouns: every record that flows between rooms, one a file."""
