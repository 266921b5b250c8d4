"""forescale: forecast, then scale."""

__version__ = "0.1.0"
