"""A finished model in front of people."""
