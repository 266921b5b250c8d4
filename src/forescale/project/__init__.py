"""One method per verb: the story on one page."""
