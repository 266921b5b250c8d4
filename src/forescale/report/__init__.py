"""Figures and the page: records in, one Figure description, two renderers, one self-contained HTML file."""
