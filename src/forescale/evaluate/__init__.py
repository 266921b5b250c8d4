"""Tasks times a model: scores with intervals, every answer kept (paper 7)."""
